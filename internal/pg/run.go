package pg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long a program that was told to end may take before it is
// killed.
const patience = 5 * time.Second

// A Process is a program of PostgreSQL at work.
type Process struct {
	cmd  *exec.Cmd
	conn Conn
	err  tail
	ctx  context.Context
}

// Command prepares a program that connects as c says. It is asked to end, as by
// ^C, when ctx is over, so that it can tell the server, and killed if it does
// not. The terminal's own ^C does not reach it.
func Command(ctx context.Context, c Conn, path string, args ...string) *Process {
	p := &Process{cmd: exec.CommandContext(ctx, path, args...), conn: c, ctx: ctx}
	p.cmd.Env = c.environ()
	p.cmd.Stderr = &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGINT) }
	p.cmd.WaitDelay = patience
	return p
}

// Input gives the program its standard input.
func (p *Process) Input(r io.Reader) { p.cmd.Stdin = r }

// Output takes its standard output.
func (p *Process) Output(w io.Writer) { p.cmd.Stdout = w }

// Run runs it to its end. A failure is a ProgramError.
func (p *Process) Run() error {
	if err := p.cmd.Start(); err != nil {
		return p.failure(err)
	}
	return p.failure(p.cmd.Wait())
}

// Read runs the program to its end and gives what it prints to use, which reads
// all of it. An error of use ends the program and is returned, unless the program
// failed by itself: then that is why.
func (p *Process) Read(use func(io.Reader) error) error {
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return p.failure(err)
	}
	r := &ending{r: out}
	used := use(r)
	if used != nil && !r.ended {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		return used
	}
	if err := p.failure(p.cmd.Wait()); err != nil {
		return err
	}
	return used
}

// Said is what the program had to say, in one line; "" for nothing.
func (p *Process) Said() string { return p.conn.hide(p.err.said(filepath.Base(p.cmd.Path))) }

// An ending reader knows whether its end was seen.
type ending struct {
	r     io.Reader
	ended bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.ended = e.ended || err != nil
	return n, err
}

// A ProgramError says that a program of PostgreSQL failed.
type ProgramError struct {
	Program string // "pg_dump"
	Said    string // the last of what it said, in one line; "" for nothing
	Err     error  // how it ended
}

func (e *ProgramError) Error() string {
	if e.Said == "" {
		return fmt.Sprintf("%s failed (%v) and did not say why", e.Program, e.Err)
	}
	return fmt.Sprintf("%s failed (%v): %s", e.Program, e.Err, e.Said)
}

func (e *ProgramError) Unwrap() error { return e.Err }

// failure words how the program ended.
func (p *Process) failure(err error) error {
	switch {
	case p.ctx.Err() != nil:
		return p.ctx.Err()
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s cannot be run (%w): install postgresql-client, or check --pg-bindir", p.cmd.Path, err)
	}
	name := filepath.Base(p.cmd.Path)
	return &ProgramError{name, p.conn.hide(p.err.said(name)), err}
}

// A tail keeps the last lines of what is written to it, and the beginning of each:
// the statement that failed, which may name ten thousand tables, does not push out
// why it failed.
type tail struct {
	mu    sync.Mutex
	lines []string // the last is not ended yet
}

const (
	tailLines  = 16
	lineLength = 400 // bytes
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(p) {
		if len(t.lines) == 0 {
			t.lines = append(t.lines, "")
		}
		last := &t.lines[len(t.lines)-1]
		*last += string(line[:min(len(line), max(0, lineLength+1-len(*last)))])
		if line[len(line)-1] == '\n' {
			t.lines = append(t.lines[max(0, len(t.lines)-tailLines):], "")
		}
	}
	return len(p), nil
}

// said is what a program said, in one line, without its own name before each.
func (t *tail) said(program string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, line := range t.lines {
		if len(line) > lineLength {
			line = line[:lineLength] + "…"
		}
		line = strings.TrimSpace(line)
		line = strings.TrimPrefix(line, program+": ")
		line = strings.TrimPrefix(line, "error: ")
		if line != "" {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.ToValidUTF8(strings.Join(lines, "; "), "?")
}
