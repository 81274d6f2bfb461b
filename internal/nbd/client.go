package nbd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Options says what to open and how.
type Options struct {
	Export      string        // "" is the server's default export
	Contexts    []string      // block status contexts to ask for, by exact name, at most 64
	Connections int           // at most this many, if the server says that it is safe; 0 is 1
	Timeout     time.Duration // longest silence of a server that owes a reply; 0 is no limit but the caller's context
}

// extraTimeout is how long a connection beyond the first may take to be opened. A server that has run out of
// connections leaves the caller hanging; then fewer do.
const extraTimeout = 5 * time.Second

const maxConnections = 16

// Client reads one export. Its methods may be called from any number of goroutines.
type Client struct {
	name    string // for errors: what we are connected to
	session        // the first connection's; the others agree with it
	conns   []*conn
}

// Dial opens an export; the network is "unix" or "tcp". The context covers only the opening.
func Dial(ctx context.Context, network, addr string, o Options) (*Client, error) {
	c := &Client{name: fmt.Sprintf("nbd %s:%s export %q", network, addr, o.Export)}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	first, err := dial(ctx, network, addr, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	c.session, c.conns = first.session, []*conn{first}
	if first.export.flags&flagCanMultiConn != 0 {
		err = c.dialMore(ctx, network, addr, o)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return c, nil
}

// DialURI opens the export that a URI names (see ParseURI); o.Export must be empty.
func DialURI(ctx context.Context, uri string, o Options) (*Client, error) {
	network, addr, export, err := ParseURI(uri)
	if err != nil {
		return nil, err
	}
	if o.Export != "" {
		return nil, fmt.Errorf("nbd URI %q: export %q given besides", uri, o.Export)
	}
	o.Export = export
	return Dial(ctx, network, addr, o)
}

func (o *Options) validate() error {
	if len(o.Export) > maxString {
		return fmt.Errorf("export name of %d bytes, more than %d", len(o.Export), maxString)
	}
	if len(o.Contexts) > 64 {
		return fmt.Errorf("%d contexts, more than 64", len(o.Contexts))
	}
	for _, name := range o.Contexts {
		if name == "" || len(name) > maxString {
			return fmt.Errorf("context name of %d bytes, want 1 to %d", len(name), maxString)
		}
	}
	return nil
}

// dial opens one connection and the export on it.
func dial(ctx context.Context, network, addr string, o Options) (*conn, error) {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	w, err := connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s, err := handshake(ctx, w, o)
	if err != nil {
		w.conn.Close()
		return nil, err
	}
	return newConn(w, s, o.Timeout), nil
}

// handshake goes from the greeting to the open export. A context that is over comes out as its own error.
func handshake(ctx context.Context, w *wire, o Options) (s session, err error) {
	release := w.deadline(ctx)
	if err = w.greet(); err == nil {
		s, err = w.open(o.Export, o.Contexts)
	}
	release()
	if ctx.Err() != nil {
		err = fmt.Errorf("handshake: %w", ctx.Err())
	}
	return s, err
}

// dialMore opens the other connections at once. One that cannot be had is done without; one that shows another disk
// is an error.
func (c *Client) dialMore(ctx context.Context, network, addr string, o Options) error {
	short, cancel := context.WithTimeout(ctx, extraTimeout)
	defer cancel()
	extra := make([]*conn, max(0, min(o.Connections, maxConnections)-1))
	var wg sync.WaitGroup
	for i := range extra {
		wg.Go(func() { extra[i], _ = dial(short, network, addr, o) })
	}
	wg.Wait()
	for _, e := range extra {
		if e != nil {
			c.conns = append(c.conns, e)
		}
	}
	for _, e := range c.conns {
		if !e.session.equal(&c.session) {
			return errors.New("a second connection shows another size or other contexts")
		}
	}
	return ctx.Err()
}

// Size is the export's size in bytes.
func (c *Client) Size() int64 { return c.export.size }

// ReadOnly reports whether the server refuses writes.
func (c *Client) ReadOnly() bool { return c.export.flags&flagReadOnly != 0 }

// Contexts are the block status contexts that the server granted, in the order of Options.
func (c *Client) Contexts() []string {
	names := make([]string, len(c.contexts))
	for i, m := range c.contexts {
		names[i] = m.name
	}
	return names
}

// Connections is how many connections are open.
func (c *Client) Connections() int { return len(c.conns) }

// Close ends all connections and waits for their goroutines. Requests in flight end with ErrClosed.
func (c *Client) Close() error {
	for _, conn := range c.conns {
		conn.close()
	}
	return nil
}

// do sends a request on the living connection that has the fewest in flight.
func (c *Client) do(ctx context.Context, r *request) error {
	best := c.conns[0]
	for _, conn := range c.conns[1:] {
		if best.dead() != nil || conn.dead() == nil && len(conn.slots) < len(best.slots) {
			best = conn
		}
	}
	return best.do(ctx, r)
}

// checkRange refuses what is not inside the export.
func (c *Client) checkRange(off, length int64) error {
	if off < 0 || length < 0 || off > c.export.size || length > c.export.size-off {
		return fmt.Errorf("outside the export of %d bytes", c.export.size)
	}
	return nil
}
