package ingest

import (
	"fmt"
	"regexp"
	"strings"
	"time"
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

// dated is NAME-DATE, or NAME-DATE and the time of day.
var dated = regexp.MustCompile(`^(.+)-(\d{4}-\d\d-\d\d|\d{8})(?:[T_-]?(\d\d)[:-]?(\d\d)(?:[:-]?(\d\d))?)?$`)

// Dated takes a name apart that a backup script has made: prefix, NAME, and a date,
// which may be followed by a time of day: 2026-11-21, 2026-11-21_183000, 20261121.
// Times are local.
func Dated(prefix, file string) (name string, when time.Time, ok bool) {
	rest, ok := strings.CutPrefix(file, prefix)
	m := dated.FindStringSubmatch(rest)
	if !ok || m == nil {
		return "", time.Time{}, false
	}
	clock := m[3] + m[4] + m[5]
	when, err := time.ParseInLocation("20060102150405", strings.ReplaceAll(m[2], "-", "")+clock+"000000"[len(clock):], time.Local)
	return m[1], when, err == nil
}
