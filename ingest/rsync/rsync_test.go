package rsync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"vaultfs/ingest"
	"vaultfs/ingest/tree"
	"vaultfs/internal/testrepo"
	"vaultfs/internal/testtree"
	"vaultfs/repo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// one is an ingest that must make a snapshot.
func one(t testing.TB, r *repo.Repo, source string, o Options) tree.Made {
	t.Helper()
	made, err := Ingest(t.Context(), r, source, o)
	ok(t, err)
	if len(made) != 1 {
		t.Fatalf("%d snapshots", len(made))
	}
	return made[0]
}

// names are the names in the root of a snapshot.
func names(t testing.TB, r *repo.Repo, s *repo.Snapshot) (list []string) {
	t.Helper()
	tr, err := r.OpenTree(t.Context(), *s.Item(repo.WholeTree))
	ok(t, err)
	for e, err := range tr.Entries(t.Context(), tr.Root(), "") {
		ok(t, err)
		list = append(list, e.Name)
	}
	return list
}

// remoteShell is a program that reaches "another host": this one. What it was
// called with is in the file that is returned.
func remoteShell(t testing.TB) (shell, called string) {
	t.Helper()
	dir := t.TempDir()
	shell, called = filepath.Join(dir, "shell"), filepath.Join(dir, "called")
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$@\" >>%s\nwhile [ \"$1\" != rsync ]; do shift; done\nexec sh -c \"$*\"\n", called)
	ok(t, os.WriteFile(shell, []byte(script), 0o700))
	return shell, called
}

func TestTheMirrorIsAsTheSource(t *testing.T) {
	source := filepath.Join(t.TempDir(), "nasty")
	testtree.Make(t, source)
	r, state := testrepo.New(t), t.TempDir()
	shell, _ := remoteShell(t)
	for _, from := range []string{source, "user@host:" + source} {
		name := fmt.Sprint("n", len(from))
		o := Options{Name: name, StateDir: state, Shell: shell, Progress: new(ingest.Progress)}
		m := one(t, r, from, o)
		if m.Snapshot.Source != "rsync/"+name || m.Snapshot.Kind != Kind || len(m.Warnings) > 0 {
			t.Errorf("%s of kind %s, warnings %q", m.Snapshot.Source, m.Snapshot.Kind, m.Warnings)
		}
		if it := m.Snapshot.Items[0]; it.Path != from || m.Snapshot.Info.Machine != from {
			t.Errorf("it is of %q on %q", it.Path, m.Snapshot.Info.Machine)
		}
		mirror := filepath.Join(state, mirrors, name, "tree")
		if diff := testtree.RsyncDiff(t, source, mirror); diff != "" {
			t.Errorf("the mirror differs: %s", diff)
		}
		again := one(t, r, from, o)
		if sum := again.Snapshot.Info.Summary; sum.BytesRead != 0 || sum.FilesUnchanged != sum.Files || sum.Files < 1000 {
			t.Errorf("nothing has changed: %+v", sum)
		}
	}
	info, err := os.Stat(filepath.Join(state, mirrors, "n"+fmt.Sprint(len(source))))
	ok(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the mirror has mode %v", info.Mode())
	}
}

func TestOnlyWhatHasChangedIsCopiedAndRead(t *testing.T) {
	source, r := t.TempDir(), testrepo.New(t)
	write := func(name, text string) { ok(t, os.WriteFile(filepath.Join(source, name), []byte(text), 0o600)) }
	write("a", "a")
	write("b", "b")
	o := Options{Name: "x", StateDir: t.TempDir()}
	one(t, r, source, o)
	write("b", "changed")
	write("c", "c")
	ok(t, os.Remove(filepath.Join(source, "a")))
	m := one(t, r, source+"/", o)
	if got := strings.Join(names(t, r, m.Snapshot), " "); got != "b c" {
		t.Errorf("it holds %q", got)
	}
	if n := m.Snapshot.Info.Summary.BytesRead; n != int64(len("changed")+len("c")) {
		t.Errorf("%d bytes were read", n)
	}
}

// A file that is rewritten within a second, with as many bytes, is another.
func TestTimesAreComparedToTheNanosecond(t *testing.T) {
	source, r := t.TempDir(), testrepo.New(t)
	name, second := filepath.Join(source, "a"), time.Now().Add(-time.Hour).Truncate(time.Second)
	write := func(text string, nanoseconds time.Duration) {
		ok(t, os.WriteFile(name, []byte(text), 0o600))
		at := second.Add(nanoseconds)
		ok(t, os.Chtimes(name, at, at))
		ok(t, os.Chtimes(source, at, at))
	}
	o := Options{Name: "x", StateDir: t.TempDir()}
	write("one", 111)
	one(t, r, source, o)
	write("two", 222)
	if n := one(t, r, source, o).Snapshot.Info.Summary.BytesRead; n != 3 {
		t.Errorf("%d bytes were read of a file that was rewritten", n)
	}
	if diff := testtree.RsyncDiff(t, source, filepath.Join(o.StateDir, mirrors, "x", "tree")); diff != "" {
		t.Errorf("the mirror differs: %s", diff)
	}
}

func TestExcludedIsNotCopied(t *testing.T) {
	source, r := t.TempDir(), testrepo.New(t)
	for _, name := range []string{"a", "b.tmp", "c.tmp"} {
		ok(t, os.WriteFile(filepath.Join(source, name), []byte(name), 0o600))
	}
	o := Options{Name: "x", StateDir: t.TempDir()}
	one(t, r, source, o)
	o.Exclude, o.Extra = []string{"b*", "-c"}, []string{"--exclude=c*"}
	if got := strings.Join(names(t, r, one(t, r, source, o).Snapshot), " "); got != "a" {
		t.Errorf("it holds %q", got)
	}
}

// Names that look like options or hold what a shell would take for its own are
// names.
func TestOddSources(t *testing.T) {
	top, r := t.TempDir(), testrepo.New(t)
	t.Chdir(top)
	shell, called := remoteShell(t)
	for i, name := range []string{"-x", "--delete", "$(touch pwned)", "a b;touch pwned", "`touch pwned`", "a'b\"c"} {
		ok(t, os.Mkdir(name, 0o700))
		ok(t, os.WriteFile(filepath.Join(name, "file"), nil, 0o600))
		for k, from := range []string{name, "host:" + name, "host:" + filepath.Join(top, name)} {
			m := one(t, r, from, Options{Name: fmt.Sprint("-x", i, k), StateDir: filepath.Join(top, "state"), Shell: shell})
			if got := names(t, r, m.Snapshot); len(got) != 1 || got[0] != "file" {
				t.Errorf("%q holds %q", from, got)
			}
		}
	}
	for _, name := range []string{"pwned", "*/pwned"} {
		if found, _ := filepath.Glob(name); len(found) > 0 {
			t.Errorf("a shell has taken a name for a command: %q", found)
		}
	}
	for _, from := range []string{"", "-oProxyCommand=x:/", "user@-oProxyCommand=x:/", ":/etc", "::module", "a\x00b"} {
		if _, err := Ingest(t.Context(), r, from, Options{Name: "x", StateDir: filepath.Join(top, "state"), Shell: shell}); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", from, err)
		}
	}
	b, err := os.ReadFile(called)
	ok(t, err)
	if strings.Contains(string(b), "ProxyCommand") {
		t.Error("an option has come to the shell")
	}
}

func TestHowSourcesAreWritten(t *testing.T) {
	for text, want := range map[string][2]string{
		"/srv":              {"/srv", "/srv/"},
		"/srv//":            {"/srv", "/srv/"},
		"/":                 {"/", "/"},
		"/a:b":              {"/a:b", "/a:b/"},
		"root@web:/srv":     {"root@web:/srv", "root@web:/srv/"},
		"root@web:/srv/":    {"root@web:/srv", "root@web:/srv/"},
		"root@web:":         {"root@web:", "root@web:./"},
		"root@web:/":        {"root@web:/", "root@web:/"},
		"web::module":       {"web::module", "web::module/"},
		"web::":             {"web::", "web::/"},
		"rsync://web/x/":    {"rsync://web/x", "rsync://web/x/"},
		"rsync://u@web:1/x": {"rsync://u@web:1/x", "rsync://u@web:1/x/"},
		"[::1]:/srv":        {"[::1]:/srv", "[::1]:/srv/"},
	} {
		s, err := parseSource(text)
		if err != nil || s.String() != want[0] || s.contents() != want[1] {
			t.Errorf("%q is %q, contents %q, %v", text, s, s.contents(), err)
		}
	}
}

func TestWhatCannotBeBackedUp(t *testing.T) {
	top, r := t.TempDir(), testrepo.New(t)
	shell, _ := remoteShell(t)
	state := filepath.Join(top, "state")
	good := filepath.Join(top, "good")
	ok(t, os.Mkdir(good, 0o700))
	ok(t, os.WriteFile(filepath.Join(good, "file"), nil, 0o600))
	one(t, r, good, Options{Name: "taken", StateDir: state})
	for _, c := range []struct {
		from, name, says string
		usage            bool
	}{
		{filepath.Join(top, "absent"), "x", "does not exist", false},
		{filepath.Join(good, "file"), "x", "is not a directory", false},
		{"host:" + filepath.Join(top, "absent"), "x", "cannot be read (rsync: [sender] change_dir", false},
		{top, "x", "holds the mirrors", true},
		{"/", "x", "holds the mirrors", true},
		{good, "", "is empty", true},
		{good, "..", "is no name of a directory", true},
		{good, "a/b", "is no name of a directory", true},
		{good, "a@b", "holds an @", true},
		{"host:" + good, "taken", "was last backed up from", false},
	} {
		made, err := Ingest(t.Context(), r, c.from, Options{Name: c.name, StateDir: state, Shell: shell})
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrUsage) != c.usage || len(made) > 0 {
			t.Errorf("%q as %q: %v", c.from, c.name, err)
		}
	}
	if m := one(t, r, "host:"+good, Options{Name: "taken", StateDir: state, Shell: shell, Adopt: true}); m.Snapshot.Seq != 2 {
		t.Errorf("adopted as number %d", m.Snapshot.Seq)
	}
}

// With some of rsync's options there is no copy, or no source any more.
func TestOptionsThatMakeNoBackup(t *testing.T) {
	r, state, dir := testrepo.New(t), t.TempDir(), t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600))
	for _, option := range []string{"--dry-run", "-n", "-vn", "--list-only", "--remove-source-files", "--only-write-batch=x"} {
		made, err := Ingest(t.Context(), r, dir, Options{Name: "x", StateDir: state, Extra: []string{option}})
		if !errors.Is(err, ErrUsage) || len(made) > 0 {
			t.Errorf("%s: %v", option, err)
		}
	}
	for _, option := range []string{"-v", "--numeric-ids", "-e/bin/nothing", "--exclude=-n"} {
		m := one(t, r, dir, Options{Name: "x", StateDir: state, Extra: []string{option}})
		if got := names(t, r, m.Snapshot); !slices.Equal(got, []string{"file"}) {
			t.Errorf("%s: %q", option, got)
		}
	}
}

// The mirror remembers its source even when no snapshot of it was made.
func TestTheMirrorOfAnotherSource(t *testing.T) {
	r, state := testrepo.New(t), t.TempDir()
	a, b := t.TempDir(), t.TempDir()
	m, err := openMirror(state, "x", "written wrongly", false)
	ok(t, err)
	m.close()
	m, err = openMirror(state, "x", a, false) // nothing was copied yet
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(m.tree(), "copied"), nil, 0o600))
	if _, err := Ingest(t.Context(), r, a, Options{Name: "x", StateDir: state}); !errors.Is(err, ErrBusy) {
		t.Errorf("a mirror in use: %v", err)
	}
	m.close()
	if _, err := Ingest(t.Context(), r, b, Options{Name: "x", StateDir: state}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("is of %q, not of %q", a, b)) {
		t.Errorf("a mirror of another source: %v", err)
	}
	one(t, r, b, Options{Name: "x", StateDir: state, Adopt: true})
	one(t, r, b, Options{Name: "x", StateDir: state})
}

// asRsync puts a script in the place of rsync. It may call the real one as "$real".
func asRsync(t testing.TB, script string) {
	t.Helper()
	real, err := exec.LookPath("rsync")
	ok(t, err)
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "rsync"), []byte("#!/bin/sh\nreal="+real+"\n[ \"$1\" = --version ] && exec $real --version\n"+script), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestHowRsyncEnds(t *testing.T) {
	for _, c := range []struct {
		code     int
		says     string
		warnings []string
		fails    string
	}{
		{code: 23, says: `rsync: [sender] send_files failed to open "/srv/x": Permission denied (13)
rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.5.0]`,
			warnings: []string{`rsync: [sender] send_files failed to open "/srv/x": Permission denied (13)`}},
		{code: 24, says: `file has vanished: "/srv/y"
rsync warning: some files vanished before they could be transferred (code 24) at main.c(1394) [sender=3.5.0]`,
			warnings: []string{`file has vanished: "/srv/y"`}},
		{code: 23, warnings: []string{"rsync did not copy everything (code 23) and did not say what"}},
		{code: 23, says: `rsync: [sender] opendir "/srv/." failed: Permission denied (13)`, fails: "cannot be read (rsync: [sender] opendir"},
		{code: 12, says: "sh: rsync: not found", fails: "rsync failed with code 12, the connection ended early: check that rsync is installed on the other host and that nothing prints when one logs in there; it said: sh: rsync: not found"},
		{code: 255, says: "ssh: connect to host web port 22: No route to host", fails: "ssh could not connect"},
		{code: 99, fails: "code 99, see EXIT VALUES in rsync(1)"},
	} {
		t.Run(fmt.Sprint(c.code, " ", c.says), func(t *testing.T) {
			source, r := t.TempDir(), testrepo.New(t)
			ok(t, os.WriteFile(filepath.Join(source, "file"), []byte("x"), 0o600))
			asRsync(t, fmt.Sprintf("$real \"$@\" || exit\ncat >&2 <<'END'\n%s\nEND\nexit %d\n", c.says, c.code))
			made, err := Ingest(t.Context(), r, source, Options{Name: "x", StateDir: t.TempDir()})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || len(made) > 0 {
					t.Errorf("%d snapshots, %v", len(made), err)
				}
				return
			}
			ok(t, err)
			if got := fmt.Sprintf("%q", made[0].Warnings); got != fmt.Sprintf("%q", c.warnings) {
				t.Errorf("warnings %s", got)
			}
			if got, lacks := made[0].Snapshot.Info.Summary.FilesUnread, c.code == 23; got > 0 != lacks {
				t.Errorf("%d files were not read", got)
			}
			if got := names(t, r, made[0].Snapshot); len(got) != 1 {
				t.Errorf("it holds %q", got)
			}
		})
	}
}

func TestWithoutRsync(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Ingest(t.Context(), testrepo.New(t), t.TempDir(), Options{Name: "x", StateDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "rsync is not installed") {
		t.Error(err)
	}
}

// rsync keeps what it has of a large file beside it, where the backup does not
// take it for the file.
func TestAnInterruptedRsync(t *testing.T) {
	source, r, state := t.TempDir(), testrepo.New(t), t.TempDir()
	ok(t, os.WriteFile(filepath.Join(source, "large"), testtree.Noise(1, 20<<20), 0o600))
	o := Options{Name: "x", StateDir: state, Extra: []string{"--bwlimit=4M"}, Progress: new(ingest.Progress)}
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer stop()
		for o.Progress.Done.Load() < 1<<20 {
			time.Sleep(time.Millisecond)
		}
	}()
	begin := time.Now()
	if made, err := Ingest(ctx, r, source, o); !errors.Is(err, context.Canceled) || len(made) > 0 {
		t.Errorf("%d snapshots, %v", len(made), err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	if _, err := os.Stat(filepath.Join(state, mirrors, "x/tree/large")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file is called what the whole one is: %v", err)
	}
	if all, err := r.Snapshots(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
	o.Extra = nil
	m := one(t, r, source, o)
	if got := strings.Join(names(t, r, m.Snapshot), " "); got != "large" {
		t.Errorf("it holds %q", got)
	}
}
