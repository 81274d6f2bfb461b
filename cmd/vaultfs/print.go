package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// What is printed where:
//
//   - standard output: results. Tables and sentences for people, or with --json
//     one JSON value a line; progress events too, since they lead up to one.
//   - standard error: "vaultfs: " and one sentence for an error or a warning;
//     progress for people; prompts.
//
// Names and texts out of a repository or an image are not trusted: whatever is
// printed for people has its control characters escaped.
//
// A write that fails does not stop a command: what it does may matter more
// than who listens. It shows in the exit status, except where the reader has
// just gone away, as head(1) does.
type printer struct {
	json, quiet bool

	mu        sync.Mutex
	out, err  io.Writer
	failed    error // the first failed write to out
	committed bool  // a failed write no longer means that nothing was done
}

// text prints to standard output for people.
func (p *printer) text(format string, args ...any) {
	p.write(clean(fmt.Sprintf(format, args...)))
}

// remark is text that --quiet leaves out.
func (p *printer) remark(format string, args ...any) {
	if !p.quiet {
		p.text(format, args...)
	}
}

// bytes prints what is not for people.
func (p *printer) bytes(b []byte) { p.write(string(b)) }

func (p *printer) write(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.out, s); err != nil && p.failed == nil {
		p.failed = err
	}
}

// object prints a JSON value as a line.
func (p *printer) object(v any) { p.write(jsonLine(v)) }

func jsonLine(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // all that is printed can be encoded
	}
	return b.String()
}

// warn prints a warning, and fail the error that ends the command.
func (p *printer) warn(sentence string) {
	p.complain(event{Event: "warning", Message: sentence}, "warning: "+sentence)
}

func (p *printer) fail(sentence string, status int) {
	if sentence != "" {
		p.complain(event{Event: "error", Message: sentence, Status: status}, sentence)
	}
}

type event struct {
	Event   string `json:"event"`
	Message string `json:"message"`
	Status  int    `json:"status,omitempty"`
}

func (p *printer) complain(e event, sentence string) {
	sentence = strings.ReplaceAll(sentence, "\n", "; ")
	line := "vaultfs: " + clean(sentence) + "\n"
	if p.json {
		e.Message = strings.ReplaceAll(e.Message, "\n", "; ")
		line = jsonLine(e)
	}
	p.stderr(line)
}

// stderr prints as it is. That a complaint cannot be printed has nowhere to go.
func (p *printer) stderr(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.err, s)
}

// prompt prints a question to the terminal.
func (p *printer) prompt(s string) { p.stderr(clean(s)) }

// end returns the exit status of a command that would end with status if all
// it printed has been read.
func (p *printer) end(status int) int {
	if p.failed == nil || errors.Is(p.failed, syscall.EPIPE) || status != statusDone {
		return status
	}
	p.stderr(fmt.Sprintf("vaultfs: printing the result: %v\n", p.failed))
	if p.committed {
		return statusPartial
	}
	return statusFailed
}

// clean escapes what a terminal would take for anything but text.
func clean(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n', r == '\t', r != utf8.RuneError && unicode.IsPrint(r):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, "\\x%02x", s[i])
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// iec writes a number of bytes for people: 1.5 GiB.
func iec(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), -1
	for v >= 1023.95 && unit < 5 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// localTime writes a time for people.
func localTime(t time.Time) string { return t.Local().Format(time.DateTime) }

// newTable is a table without lines, whose columns stand apart.
func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(header)
	return t
}

func (p *printer) table(t table.Writer) { p.text("%s\n", t.Render()) }
