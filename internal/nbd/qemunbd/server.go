// Package qemunbd runs qemu-nbd: one read-only export of one image chain on a private unix socket.
package qemunbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"vaultfs/internal/nbd"
)

// Server is a running qemu-nbd.
type Server struct {
	socket string
	cancel context.CancelFunc
	stderr tail
	ended  chan struct{} // closed when the process is reaped and its directory gone
	err    error         // how the process ended; set before ended is closed

	closing sync.Once
	closed  error
}

// Start runs qemu-nbd and waits until it answers. The server lives until Close, until ctx is over, or until this
// process dies, whichever is first. (In the last case alone its empty socket directory stays behind.)
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("qemu-nbd: %w", err)
	}
	name := o.Chain[0].Path
	dir, err := socketDir()
	if err != nil {
		return nil, fmt.Errorf("qemu-nbd %q: socket: %w", name, err)
	}
	s := &Server{socket: filepath.Join(dir, socketName), ended: make(chan struct{})}
	args, err := o.arguments(s.socket)
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("qemu-nbd %q: %w", name, err)
	}
	ctx, s.cancel = context.WithCancel(ctx)
	started := make(chan error)
	go s.run(ctx, args, started)
	if err = <-started; err == nil {
		err = s.waitReady(ctx)
	}
	if err != nil {
		s.cancel()
		<-s.ended
		return nil, fmt.Errorf("qemu-nbd %q: %w", name, err)
	}
	return s, nil
}

// run is the process's whole life. The kernel sends a child its parent-death signal when the *thread* that made it
// ends, and Go ends a thread whenever a goroutine returns while locked to it. So the thread is kept: this goroutine
// is locked to the one that starts the child until the child is reaped.
func (s *Server) run(ctx context.Context, args []string, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.ended)
	defer os.RemoveAll(filepath.Dir(s.socket))
	cmd := exec.CommandContext(ctx, "qemu-nbd", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stderr = &s.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a terminal's ^C is ours to handle
	}
	err := cmd.Start()
	started <- err
	if err != nil {
		s.err = err
		return
	}
	if s.err = s.words(cmd.Wait()); ctx.Err() != nil {
		s.err = ctx.Err()
	}
}

// words puts what the process said beside how it ended.
func (s *Server) words(err error) error {
	if err == nil {
		err = errors.New("exited")
	}
	if said := sentence(s.stderr.String()); said != "" {
		return fmt.Errorf("%s (%w)", said, err)
	}
	return err
}

// waitReady returns when the server has answered a client. qemu-nbd listens before it opens the image: if that fails
// it hangs up on whoever has connected, and only its last words tell why.
func (s *Server) waitReady(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		_, err := nbd.List(ctx, "unix", s.socket)
		if err == nil {
			return nil
		}
		wait := pause
		if answered(err) {
			wait = exitTime
		}
		select {
		case <-s.ended:
			return s.err
		case <-time.After(wait):
		}
		if answered(err) {
			return err
		}
	}
}

// exitTime is how long a server that broke off the first handshake may take to exit.
const exitTime = 5 * time.Second

// answered reports whether the server was there at all.
func answered(err error) bool {
	var op *net.OpError
	return !errors.As(err, &op) || op.Op != "dial"
}

// Socket is the path of the unix socket; it is valid until Close.
func (s *Server) Socket() string { return s.socket }

// Dial opens the export; o.Export must be empty.
func (s *Server) Dial(ctx context.Context, o nbd.Options) (*nbd.Client, error) {
	return nbd.Dial(ctx, "unix", s.socket, o)
}

// Close kills the process (it only reads, so it loses nothing), reaps it and removes its directory. If the process
// had ended before, the error says why: by itself, or with the context of Start.
func (s *Server) Close() error {
	s.closing.Do(func() {
		select {
		case <-s.ended:
			s.closed = fmt.Errorf("qemu-nbd ended early: %w", s.err)
		default:
		}
		s.cancel()
		<-s.ended
	})
	return s.closed
}
