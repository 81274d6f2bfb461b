package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// wire is a connected socket, buffered for headers, with a way around the buffer for payload.
type wire struct {
	conn net.Conn
	raw  syscall.RawConn
	br   *bufio.Reader
}

// connect opens a stream socket to the server.
func connect(ctx context.Context, network, addr string) (*wire, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w, err := newWire(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func newWire(conn net.Conn) (*wire, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T is no socket", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, raw: raw, br: bufio.NewReaderSize(conn, 16<<10)}, nil
}

// read fills p.
func (w *wire) read(p []byte) error {
	_, err := io.ReadFull(w.br, p)
	return err
}

// discard drops n bytes.
func (w *wire) discard(n int) error {
	_, err := w.br.Discard(n)
	return err
}

// readInto reads n bytes of payload into the request's buffer at the given index, or drops what is left of them once
// the caller has withdrawn the buffer. progress is called after each piece.
func (w *wire) readInto(r *request, at, n int, progress func()) error {
	for n > 0 {
		m, err := w.readPiece(r, at, n)
		if errors.Is(err, errWithdrawn) {
			return w.discard(n)
		}
		if err != nil {
			return err
		}
		at, n = at+m, n-m
		progress()
	}
	return nil
}

// readPiece reads at least one byte, at most n. It holds the request's lock only while it copies, never while it
// waits: what is buffered is in memory, and the socket is non-blocking.
func (w *wire) readPiece(r *request, at, n int) (int, error) {
	if b := w.br.Buffered(); b > 0 {
		return r.receive(at, min(n, b), w.br.Read)
	}
	var m int
	var readErr error
	err := w.raw.Read(func(fd uintptr) bool {
		m, readErr = r.receive(at, n, func(p []byte) (int, error) { return readSocket(int(fd), p) })
		return readErr != syscall.EAGAIN
	})
	if err != nil {
		return 0, err
	}
	return m, readErr
}

// readSocket is read(2), EOF being io.ErrUnexpectedEOF.
func readSocket(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.ErrUnexpectedEOF
		default:
			return n, nil
		}
	}
}

// deadline ends all I/O of the socket when the context is over, until release is called. After it the socket has no
// deadline.
func (w *wire) deadline(ctx context.Context) (release func()) {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		w.conn.SetDeadline(time.Unix(1, 0))
		close(stopped)
	})
	return func() {
		if !stop() {
			<-stopped
		}
		w.conn.SetDeadline(time.Time{})
	}
}
