package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vaultfs/ingest"
)

// partial is the directory in which rsync keeps what it has of a file when it
// is interrupted, beside the file. It is no part of the backup.
const partial = ".vaultfs-partial"

// arguments are those that rsync is given.
func (o *Options) arguments(from source, m *mirror) []string {
	args := []string{"-aHAXS", "--numeric-ids", "--delete", "--partial", "--partial-dir=" + partial, "--info=progress2"}
	if o.Shell != "" {
		args = append(args, "--rsh="+o.Shell)
	}
	if len(o.Exclude) > 0 {
		args = append(args, "--delete-excluded")
	}
	for _, pattern := range o.Exclude {
		args = append(args, "--exclude="+pattern)
	}
	args = append(args, o.Extra...)
	return append(args, "--", from.contents(), m.tree()+"/")
}

// unfitOptions are those with which rsync copies nothing, so that what lies in
// the mirror would be taken for the source, or takes away what it copies.
var unfitOptions = []string{"--dry-run", "--list-only", "--only-write-batch", "--remove-source-files", "--remove-sent-files"}

// checkExtra refuses options that make no backup.
func checkExtra(options []string) error {
	for _, option := range options {
		name, _, _ := strings.Cut(option, "=")
		short := len(name) > 1 && name[0] == '-' && name[1] != '-'
		if short { // a row of letters, up to one that takes the rest as its value
			letters, _, _ := strings.Cut(name[1:], "e")
			if end := strings.IndexAny(letters, "fTBM@"); end >= 0 {
				letters = letters[:end]
			}
			short = strings.Contains(letters, "n")
		}
		if short || slices.Contains(unfitOptions, name) {
			return fmt.Errorf("%w: with rsync's option %s the mirror would not become a copy of the source, or the source would be emptied", ErrUsage, option)
		}
	}
	return nil
}

// A program is the rsync of this host.
type program struct {
	path    string
	protect bool // it has to be told not to let a shell of the other host see its arguments
	exact   bool // it compares times to the nanosecond if it is told to
}

// version is how rsync tells its version.
var version = regexp.MustCompile(`rsync +version v?(\d+)\.(\d+)\.(\d+)`)

// findRsync looks for rsync. From 3.2.4 on it quotes arguments for the other
// host's shell by itself, from 3.1.3 on it can compare nanoseconds.
func findRsync(ctx context.Context) (*program, error) {
	path, err := exec.LookPath("rsync")
	if err != nil {
		return nil, errors.New("rsync is not installed on this host: install the package rsync")
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", path, err)
	}
	p := &program{path: path}
	if m := version.FindSubmatch(out); m != nil {
		n := 0
		for _, part := range m[1:] {
			digit, _ := strconv.Atoi(string(part))
			n = n*1000 + digit
		}
		p.protect, p.exact = n < 3_002_004, n >= 3_001_003
	}
	return p, nil
}

// stopTime is how long rsync may take to end when it is told to.
const stopTime = 10 * time.Second

// run runs rsync, which ends when ctx does, or when this program dies. It
// returns what could not be copied. rsync keeps the lock while it runs.
func (p *program) run(ctx context.Context, args []string, lock *os.File, progress *ingest.Progress) (warnings []string, err error) {
	if p.protect {
		args = append([]string{"--protect-args"}, args...)
	}
	// By default times within the same second are equal to rsync: it would not
	// see that a file was rewritten with as many bytes, nor set the time of a
	// directory right which its own work has just changed.
	if p.exact {
		args = append([]string{"--modify-window=-1"}, args...)
	}
	said := new(sayings)
	c := exec.CommandContext(ctx, p.path, args...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	c.ExtraFiles = []*os.File{lock}
	c.Stderr = said
	c.Stdout = &transferred{progress: progress}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = stopTime
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // the signal is sent when the thread ends, not the program
	defer runtime.UnlockOSThread()
	err = c.Run()
	said.end()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return said.judge(err)
}

// transferred reads of rsync's progress how many bytes it has copied: the first
// number of each line, "  1,234,567  12%    1.23MB/s    0:00:01".
type transferred struct {
	progress *ingest.Progress
	line     []byte
}

func (t *transferred) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\r' || c == '\n':
			t.line = t.line[:0]
		case len(t.line) < 256:
			t.line = append(t.line, c)
		}
		if c != '%' {
			continue
		}
		first, _, _ := bytes.Cut(bytes.TrimSpace(t.line), []byte(" "))
		if n, err := strconv.ParseInt(strings.ReplaceAll(string(first), ",", ""), 10, 64); err == nil {
			t.progress.Done.Store(n)
		}
	}
	return len(p), nil
}

// How much is kept of what rsync says: the first lines name what could not be
// copied, the last say why it gave up. Longer lines are cut.
const (
	keptFirst = 100
	keptLast  = 5
	keptLine  = 1000
)

// sayings is what rsync has written to standard error.
type sayings struct {
	rest  []byte // of a line
	first []string
	last  []string
	count int
}

func (s *sayings) Write(p []byte) (int, error) {
	for line := range bytes.SplitAfterSeq(p, []byte("\n")) {
		whole := bytes.HasSuffix(line, []byte("\n"))
		s.rest = append(s.rest, line[:min(len(line), max(0, keptLine-len(s.rest)))]...)
		if whole {
			s.end()
		}
	}
	return len(p), nil
}

// end ends a line.
func (s *sayings) end() {
	line := strings.TrimSpace(string(s.rest))
	s.rest = s.rest[:0]
	if line == "" {
		return
	}
	if s.count++; len(s.first) < keptFirst {
		s.first = append(s.first, line)
	}
	s.last = append(s.last[max(0, len(s.last)-keptLast+1):], line)
}
