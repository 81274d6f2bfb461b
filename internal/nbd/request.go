package nbd

import (
	"errors"
	"sync"
)

// errWithdrawn says that the request's caller no longer waits.
var errWithdrawn = errors.New("buffer withdrawn")

// request is one command in flight. Between registration and done only the connection's reading goroutine touches it,
// except for withdraw.
type request struct {
	command uint16
	flags   uint16
	offset  uint64
	length  uint32
	context int // block status: index of the context that is wanted

	mu  sync.Mutex
	buf []byte // read: where the data goes; nil once withdrawn

	chunks  int   // structured chunks received
	refused int   // error chunks received
	failure error // the server's first error
	covered cover // read: what has been filled
	seen    uint64
	extents []Extent // block status: of the wanted context

	done chan struct{} // closed when err is set
	err  error
}

// withdraw takes the buffer away: once it returns, nothing is written to it.
func (r *request) withdraw() {
	r.mu.Lock()
	r.buf = nil
	r.mu.Unlock()
}

// receive lets fill write to n bytes of the buffer at the given index. fill must not block.
func (r *request) receive(at, n int, fill func(p []byte) (int, error)) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf == nil {
		return 0, errWithdrawn
	}
	return fill(r.buf[at : at+n])
}

// finish ends the request; err may be nil.
func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// result checks that a reply said all that was asked for. A protocol error ends the connection, the server's refusal
// only the request.
func (r *request) result() (refusal, violation error) {
	switch {
	case r.failure != nil:
		return r.failure, nil
	case r.command == cmdRead && !r.covered.whole(r.length):
		return nil, protocolError("reply to a read of %d bytes leaves bytes out from %d on", r.length, r.covered.gap())
	case r.command == cmdBlockStatus && r.seen&(1<<r.context) == 0:
		return nil, protocolError("reply to block status lacks the context")
	}
	return nil, nil
}
