package tree

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns string
		yes, no  string // a slash at the end makes a directory
	}{
		{"*.tmp", "a.tmp a/b.tmp .tmp a.tmp/", "a.tmpx a.TMP"},
		{"build/", "build/ a/build/", "build a/build"},
		{"/build", "build build/", "a/build"},
		{"var/cache", "var/cache var/cache/", "a/var/cache var cache"},
		{"/var/*", "var/a var/b/", "var/ var/a/b"},
		{"logs/**", "logs/a logs/a/b logs/a/", "logs/ a/logs/b"},
		{"**/logs", "logs a/logs a/b/logs/", "logsx"},
		{"home/**/.cache", "home/.cache home/a/.cache home/a/b/.cache", ".cache home/a/.cachex"},
		{"a/**/b/**/c", "a/b/c a/x/b/c a/b/x/b/y/c", "a/c b/c a/x/c"},
		{"**", "a a/ a/b", ""},
		{"**/", "a/ a/b/", "a a/b"},
		{"[a-c]?", "a1 x/bz", "d1 a a12"},
		{"[!a]b", "bb", "ab"},
		{"*.tmp !keep.tmp", "a.tmp x/b.tmp", "keep.tmp x/keep.tmp"},
		{"!keep.tmp *.tmp", "keep.tmp", "keep"},
		{"!*.tmp", "", "a.tmp"},
		{`\!x`, "!x", "x"},
		{`\#x`, "#x", `\#x`},
		{"\xff*", "\xffa a/\xff", "a\xff"},
		{"?", "\xff ü", "ab"},
	} {
		var p Patterns
		for one := range strings.FieldsSeq(c.patterns) {
			ok(t, p.Add(one))
		}
		for want, list := range map[bool]string{true: c.yes, false: c.no} {
			for path := range strings.FieldsSeq(list) {
				name, dir := strings.CutSuffix(path, "/")
				full := func() string { return name }
				if got := p.match(filepath.Base(name), full, dir); got != want {
					t.Errorf("%q leaves out %q: %v", c.patterns, path, got)
				}
			}
		}
	}
	var none *Patterns
	if none.match("a", nil, false) || new(Patterns).match("a", nil, false) {
		t.Error("no pattern leaves something out")
	}
}

func TestPatternsThatMakeNoSense(t *testing.T) {
	for _, text := range []string{"", "!", "/", "a//b", "a/../b", "./a", "..", "[a", `a\`, "a/[z-", "!/"} {
		if err := new(Patterns).Add(text); !errors.Is(err, ErrPattern) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPatternFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "patterns")
	ok(t, os.WriteFile(name, []byte("\ufeff# a comment\n\n*.tmp  \r\n\\#x\n  y\nz\\ \n"), 0o600))
	var p Patterns
	ok(t, p.AddFile(name))
	var got []string
	for _, one := range p.list {
		got = append(got, strings.Join(one.names, "/"))
	}
	if want := []string{"*.tmp", `\#x`, "  y", `z\ `}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	ok(t, os.WriteFile(name, []byte("a\n[\n"), 0o600))
	if err := p.AddFile(name); !errors.Is(err, ErrPattern) || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
	if err := p.AddFile(name + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A pattern takes no more than polynomial time, however it is made.
func TestPatternsAreQuick(t *testing.T) {
	var p Patterns
	ok(t, p.Add(strings.Repeat("**/a/", 40)+"b"))
	path := strings.Repeat("a/", 2000) + "c"
	begin := time.Now()
	if p.match("c", func() string { return path }, false) {
		t.Error("it matches")
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestExcludedIsLeftOut(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	for _, name := range []string{"a.tmp", "keep/a", "cache/below/b", "cache/c", "logs/a", "x/logs/b"} {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		ok(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	var p Patterns
	for _, one := range []string{"*.tmp", "cache/", "/logs/**"} {
		ok(t, p.Add(one))
	}
	s := clean(t, r, dir, Options{Name: "x", Exclude: &p})
	if got := allPaths(t, openTree(t, r, s)); !slices.Equal(got, []string{"keep/", "keep/a", "logs/", "x/", "x/logs/", "x/logs/b"}) {
		t.Errorf("%q", got)
	}
	if !slices.Contains(s.Info.Notes, "left out, with what is below them, because patterns say so: 3") {
		t.Errorf("%q", s.Info.Notes)
	}
}

func TestNamesOfDirectories(t *testing.T) {
	at := func(y int, m time.Month, d, hour, min, sec int) time.Time {
		return time.Date(y, m, d, hour, min, sec, 0, time.Local)
	}
	host, err := os.Hostname()
	ok(t, err)
	for path, want := range map[string]title{
		"/etc":                                 {Kind, "etc", time.Time{}, false},
		"/":                                    {Kind, host, time.Time{}, false},
		"/a/rsync-web-2026-11-21":              {KindRsync, "web", at(2026, 11, 21, 0, 0, 0), true},
		"/a/rsync-web-2026-11-21_183005":       {KindRsync, "web", at(2026, 11, 21, 18, 30, 5), true},
		"/a/rsync-my-web-2026-11-21T18:30":     {KindRsync, "my-web", at(2026, 11, 21, 18, 30, 0), true},
		"/a/rsync-web-20261121":                {KindRsync, "web", at(2026, 11, 21, 0, 0, 0), true},
		"/a/rsync-web-20261121183005":          {KindRsync, "web", at(2026, 11, 21, 18, 30, 5), true},
		"/a/rsync-web-20261121-1830":           {KindRsync, "web", at(2026, 11, 21, 18, 30, 0), true},
		"/a/rsync-web-2026-13-21":              {Kind, "rsync-web-2026-13-21", time.Time{}, false},
		"/a/rsync-web-2026-11-21_250000":       {Kind, "rsync-web-2026-11-21_250000", time.Time{}, false},
		"/a/rsync--2026-11-21":                 {Kind, "rsync--2026-11-21", time.Time{}, false},
		"/a/rsync-web":                         {Kind, "rsync-web", time.Time{}, false},
		"/a/rsync-root@web-2026-11-21":         {KindRsync, "root_web", at(2026, 11, 21, 0, 0, 0), true},
		"/a/odd\n@\xff":                        {Kind, "odd___", time.Time{}, false},
		"/srv/rsync-web-2026-11-21/inside/etc": {Kind, "etc", time.Time{}, false},
	} {
		if got := titleOf(path); got != want {
			t.Errorf("%q: %+v, want %+v", path, got, want)
		}
	}
}
