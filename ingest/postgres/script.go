package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"vaultfs/internal/pg"
)

// edge is how much of a script's beginning and end is kept, in bytes.
const edge = 4 << 10

// A scriptCheck is written the whole of a script, and knows at the end whether
// pg_dump or pg_dumpall wrote it to its end.
type scriptCheck struct {
	head, tail []byte
	size       int64
}

func (s *scriptCheck) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if room := edge - len(s.head); room > 0 {
		s.head = append(s.head, p[:min(room, len(p))]...)
	}
	s.tail = append(s.tail, p[max(0, len(p)-edge):]...)
	if len(s.tail) > edge {
		s.tail = append(s.tail[:0], s.tail[len(s.tail)-edge:]...)
	}
	return len(p), nil
}

// end returns the kind of the dump, or why it is none that is whole.
func (s *scriptCheck) end() (kind string, err error) {
	if s.size == 0 {
		return "", errEmpty
	}
	if kind = pg.ScriptKind(s.head); kind == "" {
		return "", errNoScript
	}
	if !ended(string(s.tail), kind) {
		return "", fmt.Errorf("the dump is cut off: it ends after %d bytes, without the line \"-- %s complete\"", s.size, kind)
	}
	return kind, nil
}

var (
	errEmpty    = errors.New("the dump is empty: nothing to back up")
	errNoScript = errors.New("this is no dump of PostgreSQL: it begins neither as pg_dump's custom format nor with the comment \"-- PostgreSQL database dump\"")
)

// ended tells whether the last lines of a script say that it is complete, and
// nothing but comments, empty lines and \unrestrict follows.
func ended(tail, kind string) bool {
	last := ""
	for line := range strings.Lines(tail) {
		whole := strings.HasSuffix(line, "\n")
		line = strings.TrimSpace(line)
		if line == "" || line == "--" || strings.HasPrefix(line, `\unrestrict `) {
			continue
		}
		last = line
		if !whole && line != "-- "+kind+" complete" {
			last = ""
		}
	}
	return last == "-- "+kind+" complete"
}

var dumpedPattern = regexp.MustCompile(`(?m)^-- Dumped (from database|by pg_dump) version (.+?)\r?$`)

// versions are what the first lines of a script tell of the server and of
// pg_dump.
func (s *scriptCheck) versions() (server, program string) {
	for _, m := range dumpedPattern.FindAllStringSubmatch(string(s.head), -1) {
		if m[1] == "by pg_dump" {
			program = m[2]
		} else {
			server = m[2]
		}
	}
	return server, program
}
