package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is how long a process that was told to end may take before it is
// killed.
const patience = 10 * time.Second

// A Command is a program to be run and measured. It and what it starts are a
// process group of their own, so that nothing of it outlives its end.
type Command struct {
	Program string
	Args    []string
	Env     []string // beside that of this process
	Dir     string   // to run in; "" for that of this process
}

// Run runs a command to its end. If the command fails, the error holds what it
// said.
func Run(ctx context.Context, env []string, program string, args ...string) (Usage, error) {
	u, _, err := Command{Program: program, Args: args, Env: env}.Run(ctx)
	return u, err
}

// Run runs the command to its end, and returns also what it printed on its
// standard output. If the command fails, the error holds what it said.
func (c Command) Run(ctx context.Context) (u Usage, printed []byte, err error) {
	p, err := c.Start(ctx)
	if err != nil {
		return u, nil, err
	}
	err = p.wait()
	u.Wall = time.Since(p.began)
	state := p.cmd.ProcessState
	u.CPU = state.UserTime() + state.SystemTime()
	if u.Peak = p.Peak(); u.Peak == 0 { // it ended before it was looked at
		u.Peak = state.SysUsage().(*syscall.Rusage).Maxrss * 1024
	}
	return u, p.out.Bytes(), err
}

// A Process is a command that goes on in the background.
type Process struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	began    time.Time
	watch    *watcher
	ended    chan struct{}
	failure  error // once ended is closed
}

// Start starts the command. Whoever calls it calls Stop. When ctx ends, so does
// the process.
func (c Command) Start(ctx context.Context) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, c.Program, c.Args...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), c.Env...), c.Dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return p.signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = patience
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Program, err)
	}
	p.watch = watch(p.cmd.Process.Pid)
	go func() {
		p.failure = p.cmd.Wait()
		p.watch.stop()
		if ctx.Err() != nil {
			p.signal(syscall.SIGKILL)
		}
		close(p.ended)
	}()
	return p, nil
}

// wait waits for the end.
func (p *Process) wait() error {
	<-p.ended
	if p.failure == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s%s", p.cmd, p.failure, &p.out, &p.err)
}

// Ended tells whether the process has ended, and why: an error, even if it ended
// well, for nobody had told it to.
func (p *Process) Ended() error {
	select {
	case <-p.ended:
		if err := p.wait(); err != nil {
			return err
		}
		return fmt.Errorf("%s: ended too early\n%s%s", p.cmd, &p.out, &p.err)
	default:
		return nil
	}
}

// Stop waits a little for the process to end, then tells it to, and kills at
// last what is left of it. What it said of its end is of no interest.
func (p *Process) Stop() {
	for _, next := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-p.ended:
		case <-time.After(patience / 2):
			p.signal(next)
		}
	}
	<-p.ended
	p.signal(syscall.SIGKILL)
}

// Kill ends the process at once.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// Peak is the sum of what each process of the command has had resident at most
// until now, in bytes.
func (p *Process) Peak() int64 { return p.watch.peak() }

// signal reaches the whole group.
func (p *Process) signal(s syscall.Signal) error {
	err := syscall.Kill(-p.cmd.Process.Pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
