package nbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCancelInMidReply cancels while the server has sent half of the data: the call returns at once, the other half,
// sent later, does not reach the buffer, and the connection goes on.
func TestCancelInMidReply(t *testing.T) {
	for _, simple := range []bool{false, true} {
		t.Run(fmt.Sprint("simple ", simple), func(t *testing.T) {
			const half = 100 << 10
			sent, more := make(chan struct{}), make(chan struct{})
			f := fake{size: 2 * half, simple: simple}
			f.serve = func(_ int, conn net.Conn) {
				for n := 0; ; n++ {
					r, ok := next(conn)
					if !ok {
						return
					}
					data := bytes.Repeat([]byte{byte(n + 1)}, int(r.Length))
					reply := simpleBytes(0, r.Handle, data)
					if !simple {
						reply = chunkBytes(true, chunkOffsetData, r.Handle, r.Offset, data)
					}
					conn.Write(reply[:half])
					if n == 0 {
						close(sent)
						<-more
					}
					conn.Write(reply[half:])
				}
			}
			c := dialFake(t, &f, Options{})
			ctx, cancel := context.WithCancel(t.Context())
			p := make([]byte, 2*half)
			result := make(chan error)
			go func() { result <- c.ReadAt(ctx, p, 0) }()
			<-sent
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			for i := range p {
				p[i] = 0xcc
			}
			close(more)
			q := make([]byte, 2*half)
			if err := c.ReadAt(t.Context(), q, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(q, bytes.Repeat([]byte{2}, 2*half)) {
				t.Fatal("the second reply is not what came")
			}
			if !bytes.Equal(p, bytes.Repeat([]byte{0xcc}, 2*half)) {
				t.Fatal("the buffer was written to after the call had returned")
			}
		})
	}
}

// TestCancelRace cancels at random moments, and writes to the buffer at once, so that the race detector sees any
// write of the reading goroutine that comes too late.
func TestCancelRace(t *testing.T) {
	const size = 256 << 10
	f := fake{size: size}
	f.serve = func(_ int, conn net.Conn) {
		data := make([]byte, size)
		for r, ok := next(conn); ok; r, ok = next(conn) {
			conn.Write(chunkBytes(true, chunkOffsetData, r.Handle, r.Offset, data[:r.Length]))
		}
	}
	c := dialFake(t, &f, Options{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			p := make([]byte, size)
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration((i*7+g)%40*20)*time.Microsecond)
				err := c.ReadAt(ctx, p, 0)
				cancel()
				clear(p)
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := c.ReadAt(t.Context(), make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
}

// TestServerDies has many requests in flight when the server hangs up in mid-reply: each gets an error that names it.
func TestServerDies(t *testing.T) {
	f := fake{size: 1 << 20}
	f.serve = func(_ int, conn net.Conn) {
		for n := range 20 {
			r, _ := next(conn)
			if n == 19 {
				conn.Write(chunkBytes(true, chunkOffsetData, r.Handle, r.Offset, make([]byte, r.Length))[:3000])
			}
		}
	}
	c := dialFake(t, &f, Options{})
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			err := c.ReadAt(t.Context(), make([]byte, 4096), int64(i)*4096)
			if !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(fmt.Sprint(err), "broken pipe") &&
				!strings.Contains(fmt.Sprint(err), "reset by peer") || !strings.Contains(err.Error(), c.name) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := c.ReadAt(t.Context(), make([]byte, 1), 0); err == nil || !strings.Contains(err.Error(), "connection lost") {
		t.Fatal(err)
	}
}

// TestSilentServer: neither an idle connection nor a slow one is silent, one that owes a reply and sends nothing is.
func TestSilentServer(t *testing.T) {
	const timeout = 300 * time.Millisecond
	f := fake{size: 100, simple: true}
	f.serve = func(_ int, conn net.Conn) {
		r, _ := next(conn)
		conn.Write(simpleBytes(0, r.Handle, nil))
		for range r.Length {
			time.Sleep(timeout / 3)
			conn.Write([]byte{0})
		}
		next(conn)
		next(conn)
	}
	c := dialFake(t, &f, Options{Timeout: timeout})
	time.Sleep(timeout * 3 / 2)
	if err := c.ReadAt(t.Context(), make([]byte, 4), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadAt(t.Context(), make([]byte, 4), 0); err == nil || !strings.Contains(err.Error(), "silent for 300ms") {
		t.Fatal(err)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	arrived := make(chan struct{})
	f := fake{size: 100}
	f.serve = func(_ int, conn net.Conn) {
		next(conn)
		close(arrived)
		next(conn)
	}
	c := dialFake(t, &f, Options{})
	result := make(chan error)
	go func() { result <- c.ReadAt(t.Context(), make([]byte, 4), 0) }()
	<-arrived
	c.Close()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := c.ReadAt(t.Context(), make([]byte, 4), 0); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	c.Close()
}

// TestFullConnection: once a server holds back as many replies as a connection takes, a caller waits for its own
// context and no longer; its request is not sent.
func TestFullConnection(t *testing.T) {
	seen := make(chan struct{}, 2*inFlight)
	f := fake{size: 100}
	f.serve = func(_ int, conn net.Conn) {
		for _, ok := next(conn); ok; _, ok = next(conn) {
			seen <- struct{}{}
		}
	}
	c := dialFake(t, &f, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range inFlight + 5 {
		wg.Go(func() {
			if err := c.ReadAt(ctx, make([]byte, 4), 0); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for range inFlight {
		<-seen
	}
	cancel()
	wg.Wait()
	c.Close()
	if len(seen) != 0 {
		t.Fatalf("%d requests more than %d were sent", len(seen), inFlight)
	}
}

// TestConnections: several only if the server allows it; without those that cannot be had; never to different disks.
func TestConnections(t *testing.T) {
	idle := func(_ int, conn net.Conn) { next(conn) }
	one := dialFake(t, &fake{size: 100, serve: idle}, Options{Connections: 4})
	if one.Connections() != 1 {
		t.Fatal(one.Connections())
	}
	four := dialFake(t, &fake{size: 100, flags: flagCanMultiConn, serve: idle}, Options{Connections: 4})
	if four.Connections() != 4 {
		t.Fatal(four.Connections())
	}
	full := &fake{size: 100, flags: flagCanMultiConn, serve: idle, full: 2}
	if c := dialFake(t, full, Options{Connections: 4, Timeout: 200 * time.Millisecond}); c.Connections() != 2 {
		t.Fatal(c.Connections())
	}
	growing := &fake{size: 100, flags: flagCanMultiConn, serve: idle, grow: true}
	network, addr := growing.start(t)
	if _, err := Dial(t.Context(), network, addr, Options{Connections: 2}); err == nil {
		t.Fatal("two connections to different disks")
	}
}

// TestSurvivingConnection: when one connection dies, later requests go over the other.
func TestSurvivingConnection(t *testing.T) {
	f := fake{size: 100, simple: true, flags: flagCanMultiConn}
	f.serve = func(n int, conn net.Conn) {
		for r, ok := next(conn); ok && n > 0; r, ok = next(conn) {
			conn.Write(simpleBytes(0, r.Handle, make([]byte, r.Length)))
		}
	}
	c := dialFake(t, &f, Options{Connections: 2})
	p := make([]byte, 4)
	if err := c.ReadAt(t.Context(), p, 0); err == nil {
		t.Fatal("the first connection is the one that dies")
	}
	for range 5 {
		if err := c.ReadAt(t.Context(), p, 0); err != nil {
			t.Fatal(err)
		}
	}
}
