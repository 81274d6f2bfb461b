package fusefs

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"win11":       "win11",
		"":            "%",
		".":           "%2E",
		"..":          "%2E.",
		".hidden":     "%2Ehidden",
		"a.b":         "a.b",
		"100%":        "100%25",
		"a/b":         "a%2Fb",
		"a\nb\x00":    "a%0Ab%00",
		"\xff\xfe":    "%FF%FE",
		"Büro PC":     "Büro PC",
		"a\u202egpj":  "a%E2%80%AEgpj", // would show the rest backwards
		"nb\u00a0sp":  "nb%C2%A0sp",
		"名前":          "名前",
		"latest":      "latest",
		"vm:0,x=1\\y": "vm:0,x=1\\y",
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"latest":                 "%6Catest",
		"2026-11-21T18-00-00Z":   "%32026-11-21T18-00-00Z",
		"2026-11-21T18-00-00Z-2": "%32026-11-21T18-00-00Z-2",
		"2026-11-21":             "2026-11-21",
	} {
		if got := sourceName(in); got != want {
			t.Errorf("sourceName(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestEscapeCanBeUndone also shows that two names never become one.
func TestEscapeCanBeUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "name"))
		for _, name := range []string{escape(in), sourceName(in)} {
			checkName(t, name)
			back, err := url.PathUnescape(strings.TrimPrefix(name+"\x00", "%\x00"))
			if err != nil || strings.TrimSuffix(back, "\x00") != in {
				t.Fatalf("%q becomes %q, and that %q (%v)", in, name, back, err)
			}
		}
	})
}

func TestLongNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]string{"x", "ü", "名", "\xff", "\n", "%"}).Draw(t, "unit")
		long := rapid.StringN(0, 5, -1).Draw(t, "head") + strings.Repeat(unit, 300)
		name := escape(long)
		checkName(t, name)
		if other := escape(long + "1"); other == name || len(name) < 200 {
			t.Fatalf("%q becomes %q, and one byte more makes %q", long, name, other)
		}
	})
}

func checkName(t *rapid.T, name string) {
	if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00\n") || !utf8.ValidString(name) || len(name) > maxName {
		t.Fatalf("%q is no file name", name)
	}
}

func TestStampIsUTC(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	if got := stamp(time.Date(2026, 11, 21, 20, 0, 0, 999, zone)); got != "2026-11-21T18-00-00Z" {
		t.Error(got)
	}
}
