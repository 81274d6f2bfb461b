package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestIEC(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 1 << 30: "1.0 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := iec(n); got != want {
			t.Errorf("iec(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestCleanLeavesNothingForTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"vda ü €\n":      "vda ü €\n",
		"\x1b[2J":        `\x1b[2J`,
		"a\rb":           `a\rb`,
		"\u202egnp.exe":  `\u202egnp.exe`,
		"\u009b1m":       `\u009b1m`,
		"half \xff byte": `half \xff byte`,
		"\ufffd":         `�`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"/backup/vault": "/backup/vault", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'"} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

// failing is a writer that fails with an error.
type failing struct{ err error }

func (w failing) Write([]byte) (int, error) { return 0, w.err }

func TestStatusWhenTheResultCannotBePrinted(t *testing.T) {
	for _, c := range []struct {
		err             error
		committed       bool
		status, becomes int
	}{
		{nil, false, statusDone, statusDone},
		{syscall.EPIPE, false, statusDone, statusDone},
		{syscall.ENOSPC, false, statusDone, statusFailed},
		{syscall.ENOSPC, true, statusDone, statusPartial},
		{syscall.ENOSPC, false, statusDamage, statusDamage},
	} {
		var out io.Writer = io.Discard
		if c.err != nil {
			out = failing{c.err}
		}
		p := &printer{out: out, err: io.Discard, committed: c.committed}
		p.text("result\n")
		if got := p.end(c.status); got != c.becomes {
			t.Errorf("%v, committed %v: status %d becomes %d, want %d", c.err, c.committed, c.status, got, c.becomes)
		}
	}
}

func TestErrorIsOneLine(t *testing.T) {
	var b bytes.Buffer
	p := &printer{out: io.Discard, err: &b}
	p.fail(errors.Join(errors.New("one"), errors.New("two")).Error(), statusFailed)
	if got := b.String(); got != "vaultfs: one; two\n" {
		t.Errorf("%q", got)
	}
}

func TestMeter(t *testing.T) {
	const mib = 1 << 20
	m, now := newMeter(), time.Now()
	at := func(seconds float64, s state) string {
		m.see(s, now.Add(time.Duration(seconds*float64(time.Second))))
		return m.describe(s)
	}
	if got := at(0, state{"reading", 0, 0}); got != "reading" {
		t.Errorf("at the beginning: %q", got)
	}
	at(0.1, state{"reading", 0, 1000 * mib})
	if got, want := at(10.1, state{"reading", 500 * mib, 1000 * mib}), "reading 500.0 MiB of 1000.0 MiB, 50%, 50.0 MiB/s, 10s left"; got != want {
		t.Errorf("half way: %q, want %q", got, want)
	}
	for s := 11.1; s < 60; s++ { // it stands still
		at(s, state{"reading", 500 * mib, 1000 * mib})
	}
	if m.rate > mib/100 {
		t.Errorf("after 50 s without progress the rate is still %.0f", m.rate)
	}
	if got := at(61, state{"committing", 1000 * mib, 1000 * mib}); got != "committing 1000.0 MiB of 1000.0 MiB, 100%" {
		t.Errorf("a new phase: %q", got)
	}
}

// TestEveryCommandExplainsItself: what it is for, and an example.
func TestEveryCommandExplainsItself(t *testing.T) {
	a := newApp(nil, io.Discard, io.Discard)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && !c.HasSubCommands() && (len(c.Long) < 40 || !strings.Contains(c.Example, "vaultfs ")) {
			t.Errorf("%s has no long help or no example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Long+"\n"+c.Example, "\n") {
			if n := len([]rune(line)); n > 100 {
				t.Errorf("%s: a line of its help has %d characters: %s", c.CommandPath(), n, line)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.rootCommand())
}

// A command of a whole day does not fill a log.
func TestLogPause(t *testing.T) {
	lines := 0
	for passed := logPause(0); passed < 24*time.Hour; passed += logPause(passed) {
		lines++
	}
	if lines < 50 || lines > 100 || logPause(time.Minute) != logEvery || logPause(time.Hour) != 6*time.Minute {
		t.Errorf("%d lines", lines)
	}
}
