package fusefs

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxName    = 240 // bytes; leaves room for a suffix within NAME_MAX, 255
	latestName = "latest"
	disksName  = "disks"
)

// stamp names a snapshot by its time, without the colons that QEMU would take
// for a protocol's.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15-04-05Z") }

var stampPattern = regexp.MustCompile(`^\d{4,}-\d\d-\d\dT\d\d-\d\d-\d\dZ(-\d+)?$`)

// sourceName is the directory of a component of a source's name.
func sourceName(component string) string {
	if component == latestName || stampPattern.MatchString(component) {
		return escapeFirst(component)
	}
	return escape(component)
}

// itemPath is the path of a file within its snapshot.
func itemPath(name string) []string {
	path := strings.Split(name, "/")
	for i, component := range path {
		if i == 0 && component == disksName {
			path[i] = escapeFirst(component)
		} else {
			path[i] = escape(component)
		}
	}
	return path
}

// escapeFirst is escape, with the first byte escaped whatever it is.
func escapeFirst(s string) string {
	return shorten(percent(s[:1])+escaped(s[1:]), s)
}

// escape makes a file name of any string. See the package's doc for the rules.
func escape(s string) string {
	switch {
	case s == "":
		return "%"
	case s[0] == '.':
		return escapeFirst(s)
	}
	return shorten(escaped(s), s)
}

func escaped(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == '%' || r == '/' || !unicode.IsPrint(r) || r == utf8.RuneError && n == 1 {
			b.WriteString(percent(s[:n]))
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func percent(bytes string) string {
	var b strings.Builder
	for i := range len(bytes) {
		fmt.Fprintf(&b, "%%%02X", bytes[i])
	}
	return b.String()
}

// shorten keeps a name that fits. Another is cut, between characters and between
// escapes, and told from its like by a hash of what it stands for.
func shorten(name, of string) string {
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(of))
	tail := fmt.Sprintf("%%~%x", sum[:8])
	head := name[:maxName-len(tail)]
	if i := strings.LastIndexByte(head, '%'); i > len(head)-3 {
		head = head[:i]
	}
	for !utf8.ValidString(head) {
		head = head[:len(head)-1]
	}
	return head + tail
}
