package ingest

import (
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name, printable, source string
		fits                    bool
	}{
		{"etc", "etc", "etc", true},
		{"Grüße 1.2/x", "Grüße 1.2/x", "Grüße 1.2/x", true},
		{"", "", "", false},
		{" \u00a0", " %C2%A0", " _", false},
		{"a@b", "a@b", "a_b", false},
		{"a\nb\x1b[31m\x00", "a%0Ab%1B[31m%00", "a_b_[31m_", false},
		{"\xffx\xc3", "%FFx%C3", "_x_", false},
		{"\u202eabc", "%E2%80%AEabc", "_abc", false}, // turns round what follows it
		{"\ufffd", "\ufffd", "_", true},
	} {
		if got := Printable(c.name); got != c.printable || Printable(got) != got {
			t.Errorf("%q: printable %q, want %q", c.name, got, c.printable)
		}
		if got := SourceName(c.name); got != c.source {
			t.Errorf("%q: source %q, want %q", c.name, got, c.source)
		}
		if why := Unfit(c.name); (why == "") != c.fits {
			t.Errorf("%q: %q", c.name, why)
		}
		if c.source != "" && Unfit(SourceName(c.name)) != "" {
			t.Errorf("%q: %q is none either", c.name, SourceName(c.name))
		}
	}
}

func TestDated(t *testing.T) {
	for file, want := range map[string]string{
		"rsync-web-2026-11-21":          "web 2026-11-21 00:00:00",
		"rsync-a-b-2026-11-21_183000":   "a-b 2026-11-21 18:30:00",
		"rsync-web-20261121T1830":       "web 2026-11-21 18:30:00",
		"rsync-web-2026-11-21-18:30:59": "web 2026-11-21 18:30:59",
		"rsync-web-2026-13-21":          "",
		"rsync-2026-11-21":              "",
		"rsync-web":                     "",
		"web-2026-11-21":                "",
		"rsync-web-2026-11-21.old":      "",
	} {
		got := ""
		if name, when, ok := Dated("rsync-", file); ok {
			got = name + " " + when.Format(time.DateTime)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}
