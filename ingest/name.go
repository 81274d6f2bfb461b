package ingest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unfit says why a name is none for a source, which is written as SOURCE@TIME and
// shown on terminals; "" when it is one.
func Unfit(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "is empty"
	case strings.Contains(name, "@"):
		return "holds an @, which separates a source from a time"
	case name != Printable(name):
		return "holds what cannot be printed"
	}
	return ""
}

// SourceName makes a name for a source of that of a file, with "_" for what cannot
// be in one.
func SourceName(file string) string {
	return strings.Map(func(r rune) rune {
		if r == '@' || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	}, file)
}

// Printable percent-escapes the bytes of a file name that are no printable
// UTF-8: manifests hold only that, and names are shown on terminals.
func Printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		if unicode.IsPrint(r) && !(r == utf8.RuneError && size == 1) {
			b.WriteString(s[i : i+size])
			continue
		}
		for _, c := range []byte(s[i : i+size]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
