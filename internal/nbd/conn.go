package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// inFlight is how many requests one connection has unanswered at most. Their headers together are below 2 KiB, which
// any socket takes at once: sending never waits for a server that does not read.
const inFlight = 64

// sendTimeout bounds a write all the same.
const sendTimeout = 10 * time.Second

// conn is one connection in the transmission phase.
type conn struct {
	*wire
	session
	timeout time.Duration
	slots   chan struct{} // one token a request in flight
	ended   chan struct{} // closed when the reading goroutine has returned

	mu      sync.Mutex
	pending map[uint64]*request
	last    uint64 // the newest handle
	cause   error  // why the connection is over; nil while it lives
}

// newConn starts the reading goroutine, which runs until kill.
func newConn(w *wire, s session, timeout time.Duration) *conn {
	c := &conn{
		wire:    w,
		session: s,
		timeout: timeout,
		slots:   make(chan struct{}, inFlight),
		ended:   make(chan struct{}),
		pending: make(map[uint64]*request),
	}
	go c.run()
	return c
}

func (c *conn) run() {
	defer close(c.ended)
	for {
		if err := c.readReply(); err != nil {
			c.kill(fmt.Errorf("connection lost: %w", c.explain(err)))
			break
		}
	}
	for _, r := range c.abandon() {
		r.finish(c.cause)
		<-c.slots
	}
}

// explain words what ended the stream of replies.
func (c *conn) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("server was silent for %v: %w", c.timeout, err)
	}
	return eof(err)
}

// eof words the end of the stream.
func eof(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("server hung up: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// kill closes the socket, which ends the reading goroutine and with it all requests in flight.
func (c *conn) kill(cause error) {
	if c.over(cause) {
		c.wire.conn.Close()
	}
}

// over notes why the connection ends: no more requests are taken. It reports whether this is the first cause, which
// is the one that counts and whose finder closes the socket.
func (c *conn) over(cause error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.cause = cause
	return true
}

// abandon empties the table of requests; no more are taken once there is a cause.
func (c *conn) abandon() map[uint64]*request {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending := c.pending
	c.pending = nil
	return pending
}

// dead gives the cause of the connection's end, nil while it lives.
func (c *conn) dead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// do sends the request and waits for its reply. After it returns, the request's buffer is not written to.
func (c *conn) do(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return c.dead()
	}
	r.done = make(chan struct{})
	handle, err := c.register(r)
	if err != nil {
		<-c.slots
		return err
	}
	c.send(r.command, r.flags, handle, r.offset, r.length)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		r.withdraw()
		return ctx.Err()
	}
}

// register gives the request its handle.
func (c *conn) register(r *request) (handle uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return 0, c.cause
	}
	c.last++
	c.pending[c.last] = r
	if len(c.pending) == 1 {
		c.expect(true)
	}
	return c.last, nil
}

// lookup finds the request that a reply belongs to.
func (c *conn) lookup(handle uint64) (*request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.pending[handle]
	if r == nil {
		return nil, protocolError("reply to a request that is not in flight, handle %#x", handle)
	}
	return r, nil
}

// complete ends the request whose reply is whole.
func (c *conn) complete(handle uint64, r *request) error {
	refusal, violation := r.result()
	if violation != nil {
		return violation
	}
	c.mu.Lock()
	delete(c.pending, handle)
	c.expect(len(c.pending) > 0)
	c.mu.Unlock()
	r.finish(refusal)
	<-c.slots
	return nil
}

// expect sets how long the server may be silent: for the timeout while it owes a reply, else for ever. The caller
// holds mu.
func (c *conn) expect(reply bool) {
	if c.timeout == 0 {
		return
	}
	var t time.Time
	if reply {
		t = time.Now().Add(c.timeout)
	}
	c.wire.conn.SetReadDeadline(t)
}

// progress notes that bytes of a reply have come.
func (c *conn) progress() {
	if c.timeout > 0 {
		c.wire.conn.SetReadDeadline(time.Now().Add(c.timeout))
	}
}

// send writes a request header; a failure kills the connection. Callers need no lock: a net.Conn writes each buffer
// whole, one after the other.
func (c *conn) send(command, flags uint16, handle, offset uint64, length uint32) {
	h := make([]byte, 0, 28)
	h = binary.BigEndian.AppendUint32(h, magicRequest)
	h = binary.BigEndian.AppendUint16(h, flags)
	h = binary.BigEndian.AppendUint16(h, command)
	h = binary.BigEndian.AppendUint64(h, handle)
	h = binary.BigEndian.AppendUint64(h, offset)
	h = binary.BigEndian.AppendUint32(h, length)
	c.wire.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if _, err := c.wire.conn.Write(h); err != nil {
		c.kill(fmt.Errorf("connection lost: %w", err))
	}
}

// close tells the server goodbye and waits until the reading goroutine is gone.
func (c *conn) close() {
	if c.over(ErrClosed) {
		c.send(cmdDisc, 0, 0, 0, 0)
		c.wire.conn.Close()
	}
	<-c.ended
}
