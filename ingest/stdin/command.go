package stdin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"vaultfs/repo"
)

// stopWait is how long a command that was told to end has for it.
const stopWait = 5 * time.Second

// storeCommand stores what a command prints. One that goes on when its output is
// no longer wanted gets SIGTERM, and SIGKILL after stopWait; what it has started
// finds its output closed. It stays in the process group of the terminal, so that
// it may ask for a password there.
func (o *Options) storeCommand(ctx context.Context, session *repo.Session) (repo.Item, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	said := &tail{to: o.Stderr}
	c := exec.CommandContext(running, o.Command[0], o.Command[1:]...)
	c.Stdin, c.Stderr, c.WaitDelay = o.Stdin, said, stopWait
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	out, err := c.StdoutPipe()
	if err != nil {
		return repo.Item{}, err
	}
	if err := c.Start(); err != nil {
		return repo.Item{}, fmt.Errorf("the command %q cannot be started: %w", o.Command[0], bare(err))
	}
	it, err := o.storeStream(ctx, session, out)
	if err != nil {
		stop()
	}
	ended := c.Wait()
	switch {
	case ctx.Err() != nil:
		return it, ctx.Err()
	case err != nil:
		return it, err
	case ended != nil && !errors.Is(ended, exec.ErrWaitDelay): // that one is of what the command has left running
		return it, fmt.Errorf("the command %q failed (%w)%s: what it printed until then, %d bytes, is not a backup", o.Command[0], ended, said.last(), it.Size)
	}
	return it, nil
}

// bare is an error of starting a program without its name.
func bare(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		return e.Err
	}
	return err
}

// A tail passes on what is written to it and keeps the end.
type tail struct {
	to   io.Writer
	kept []byte
}

// tailSize is how much is kept, in bytes.
const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailSize; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	if t.to == nil {
		return len(p), nil
	}
	return t.to.Write(p)
}

// last is the last line, to follow in an error.
func (t *tail) last() string {
	line := bytes.TrimSpace(t.kept)
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	if len(line) == 0 {
		return ""
	}
	return fmt.Sprintf(", saying %q", strings.ToValidUTF8(string(line), "_"))
}
