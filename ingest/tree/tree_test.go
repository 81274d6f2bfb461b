package tree

import (
	"bytes"
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

	"golang.org/x/sys/unix"
	"vaultfs/ingest"
	"vaultfs/internal/testtree"
	"vaultfs/repo"
)

// settle lets the time go by within which what was touched is read again.
func settle(t testing.TB) {
	t.Helper()
	time.Sleep(granularity + 100*time.Millisecond)
}

func TestEverythingOfATreeIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nasty")
	testtree.Make(t, dir)
	immutable := filepath.Join(dir, "immutable")
	ok(t, os.WriteFile(immutable, []byte("x"), 0o600))
	if out, err := exec.Command("chattr", "+i", immutable).CombinedOutput(); err != nil {
		t.Fatalf("chattr: %v\n%s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", immutable).Run() })
	r := newRepo(t)
	if out, err := exec.Command("sync", "-f", dir).CombinedOutput(); err != nil { // what ext4 counts as allocated changes until then
		t.Fatalf("sync: %v\n%s", err, out)
	}
	settle(t)
	first := clean(t, r, dir, Options{Verify: true})
	tree := openTree(t, r, first)
	compare(t, tree, dir)
	if first.Source != "tree/nasty" || first.Kind != Kind {
		t.Errorf("the source is %s, of kind %s", first.Source, first.Kind)
	}
	sum := first.Info.Summary
	if b := tree.Root().Below; sum.FilesNew != int64(b.Files) || sum.Files != int64(b.Files) || sum.FilesChanged+sum.FilesUnchanged+sum.FilesUnread != 0 {
		t.Errorf("%d files: %+v", b.Files, sum)
	}
	if got := sparseSize(t, tree, "sparse/nothing but a hole"); got != 0 {
		t.Errorf("a hole is stored as %d bytes", got)
	}

	progress := new(ingest.Progress)
	second := clean(t, r, dir, Options{Progress: progress})
	compare(t, openTree(t, r, second), dir)
	sum = second.Info.Summary
	if sum.BytesRead != 0 || sum.ChunksNew != 0 || sum.FilesUnchanged != sum.Files {
		t.Errorf("nothing has changed: %+v", sum)
	}
	if second.Items[0].Root != first.Items[0].Root {
		t.Error("the same tree has another root")
	}
	if p := progress; p.Done.Load() != p.Total.Load() || p.Total.Load() != int64(tree.Root().Below.Bytes) {
		t.Errorf("progress ends at %d of %d", p.Done.Load(), p.Total.Load())
	}

	third := clean(t, r, dir, Options{ForceRead: true})
	if sum := third.Info.Summary; sum.BytesRead == 0 || sum.ChunksNew != 0 || sum.FilesUnchanged != sum.Files {
		t.Errorf("everything was to be read: %+v", sum)
	}
}

func sparseSize(t testing.TB, tree *repo.Tree, path string) (n int64) {
	t.Helper()
	e, err := tree.Find(t.Context(), path)
	ok(t, err)
	f, err := tree.Open(t.Context(), e)
	ok(t, err)
	for _, r := range storedRanges(t, f) {
		n += r.Len
	}
	return n
}

func TestOnlyWhatHasChangedIsRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) { ok(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		write(name, "old "+name)
	}
	mtime := time.Now().Add(-time.Hour)
	for _, name := range []string{"b", "e"} {
		ok(t, os.Chtimes(filepath.Join(dir, name), mtime, mtime))
	}
	r := newRepo(t)
	settle(t)
	clean(t, r, dir, Options{Name: "x"})

	write("a", "new a")                                                 // mtime and ctime
	write("b", "new b")                                                 // the same size and mtime: only ctime tells
	ok(t, os.Chtimes(filepath.Join(dir, "b"), mtime, mtime))            //
	ok(t, os.Remove(filepath.Join(dir, "c")))                           //
	ok(t, os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "dd"))) //
	ok(t, os.Chmod(filepath.Join(dir, "e"), 0o644))                     // the attributes only
	write("g", "new g")                                                 //
	s := clean(t, r, dir, Options{Name: "x"})
	tree := openTree(t, r, s)
	compare(t, tree, dir)
	if got := string(content(t, tree, "b")); got != "new b" {
		t.Errorf("b is %q", got)
	}
	sum := s.Info.Summary
	want := repo.Summary{FilesNew: 2, FilesChanged: 2, FilesUnchanged: 2}
	if sum.FilesNew != want.FilesNew || sum.FilesChanged != want.FilesChanged || sum.FilesUnchanged != want.FilesUnchanged {
		t.Errorf("%+v", sum)
	}
	if sum.BytesRead != 5*5 { // all but f, of which a stat tells that it is the same
		t.Errorf("%d bytes were read", sum.BytesRead)
	}
}

// A file that was touched when the walk before began may have changed within
// one tick of the file system's clock.
func TestWhatWasTouchedLatelyIsReadAgain(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	ok(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600))
	clean(t, r, dir, Options{Name: "x"})
	if s := clean(t, r, dir, Options{Name: "x"}); s.Info.Summary.BytesRead != 1 || s.Info.Summary.FilesUnchanged != 1 {
		t.Errorf("%+v", s.Info.Summary)
	}
	settle(t)
	clean(t, r, dir, Options{Name: "x"})
	if s := clean(t, r, dir, Options{Name: "x"}); s.Info.Summary.BytesRead != 0 {
		t.Errorf("%+v", s.Info.Summary)
	}
}

func TestHardLinksAreReadOnce(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	first := filepath.Join(dir, "first")
	ok(t, os.WriteFile(first, testtree.Noise(1, 5<<20), 0o600))
	for i := range 50 {
		ok(t, os.Link(first, filepath.Join(dir, fmt.Sprint("link", i))))
	}
	s := clean(t, r, dir, Options{Name: "x"})
	if n := s.Info.Summary.BytesRead; n != 5<<20 {
		t.Errorf("%d bytes were read", n)
	}
	compare(t, openTree(t, r, s), dir)
}

func TestMoreHolesThanCanBeTold(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "holes"))
	ok(t, err)
	defer f.Close()
	size := int64(0)
	for i := range int64(12) { // the holes grow
		_, err := f.WriteAt(testtree.Noise(byte(i), 4096), size)
		ok(t, err)
		size += 4096 * (i + 2)
	}
	ok(t, f.Truncate(size))
	all, filled, err := dataRanges(int(f.Fd()), size, 100)
	ok(t, err)
	if len(all) != 12 || filled != 0 {
		t.Fatalf("%d runs, %d filled: %v", len(all), filled, all)
	}
	for limit := 1; limit < 12; limit++ {
		got, filled, err := dataRanges(int(f.Fd()), size, limit)
		ok(t, err)
		first := repo.Range{Off: 0, Len: all[12-limit].Off + all[12-limit].Len}
		if want := append([]repo.Range{first}, all[13-limit:]...); filled != 12-limit || !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, %d filled, want %v", limit, got, filled, want)
		}
	}
}

func TestWhatIsMountedBelow(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	for _, name := range []string{"proc", "tmp", "file"} {
		ok(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	mount := func(fs, name string) {
		ok(t, unix.Mount(fs, filepath.Join(dir, name), fs, 0, ""))
		t.Cleanup(func() { ok(t, unix.Unmount(filepath.Join(dir, name), 0)) })
	}
	mount("proc", "proc")
	mount("tmpfs", "tmp")
	ok(t, os.WriteFile(filepath.Join(dir, "tmp/a"), []byte("a"), 0o600))
	ok(t, unix.Chmod(filepath.Join(dir, "tmp"), 0o1777))

	s := clean(t, r, dir, Options{Name: "x"})
	if got := allPaths(t, openTree(t, r, s)); !slices.Equal(got, []string{"file/", "proc/", "tmp/", "tmp/a"}) {
		t.Errorf("%q", got)
	}
	if !slices.ContainsFunc(s.Info.Notes, func(n string) bool {
		return strings.Contains(n, `/proc" is left empty: proc, which the kernel makes up`)
	}) {
		t.Errorf("notes %q", s.Info.Notes)
	}
	s = clean(t, r, dir, Options{Name: "x", OneFileSystem: true})
	tree := openTree(t, r, s)
	if got := allPaths(t, tree); !slices.Equal(got, []string{"file/", "proc/", "tmp/"}) {
		t.Errorf("%q", got)
	}
	if e, err := tree.Find(t.Context(), "tmp"); err != nil || e.Permissions() != 0o1777 {
		t.Errorf("%v, %+v", err, e)
	}
}

// The layers of an overlay may lie on several file systems, and its files then
// have devices of their own: they are of one file system all the same.
func TestAnOverlayIsOneFileSystem(t *testing.T) {
	var at []string
	for range 2 {
		dir := t.TempDir()
		ok(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		at = append(at, dir)
	}
	merged := t.TempDir()
	for _, dir := range []string{filepath.Join(at[1], "upper"), filepath.Join(at[1], "work")} {
		ok(t, os.Mkdir(dir, 0o755))
	}
	ok(t, os.WriteFile(filepath.Join(at[0], "below"), []byte("below"), 0o600))
	ok(t, os.WriteFile(filepath.Join(at[1], "upper", "above"), []byte("above"), 0o600))
	ok(t, unix.Mount("overlay", merged, "overlay", 0, fmt.Sprintf("xino=off,lowerdir=%s,upperdir=%s,workdir=%s",
		at[0], filepath.Join(at[1], "upper"), filepath.Join(at[1], "work"))))
	t.Cleanup(func() { unix.Unmount(merged, unix.MNT_DETACH) })
	ok(t, os.WriteFile(filepath.Join(merged, "mounted"), nil, 0o600))
	ok(t, unix.Mount("/proc/version", filepath.Join(merged, "mounted"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(filepath.Join(merged, "mounted"), unix.MNT_DETACH) })

	r := newRepo(t)
	s := clean(t, r, merged, Options{Name: "x", OneFileSystem: true})
	if got := allPaths(t, openTree(t, r, s)); !slices.Equal(got, []string{"above", "below"}) {
		t.Errorf("%q, notes %q", got, s.Info.Notes)
	}
}

func TestTheRepositoryIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	r, at := newRepoIn(t, filepath.Join(dir, "vault"))
	ok(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600))
	s := clean(t, r, dir, Options{Name: "x", Repository: at})
	if got := allPaths(t, openTree(t, r, s)); !slices.Equal(got, []string{"a", "vault/"}) {
		t.Errorf("%q", got)
	}
	if !slices.ContainsFunc(s.Info.Notes, func(n string) bool { return strings.Contains(n, "it is the repository") }) {
		t.Errorf("notes %q", s.Info.Notes)
	}
	if _, err := Ingest(t.Context(), r, []string{at}, Options{Repository: at}); !errors.Is(err, ErrUsage) {
		t.Errorf("the repository itself: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	ok(t, os.Symlink(filepath.Join(at, "packs"), link))
	for _, below := range []string{filepath.Join(at, "packs"), link} {
		if _, err := Ingest(t.Context(), r, []string{below}, Options{Name: "y", Repository: at}); !errors.Is(err, ErrUsage) {
			t.Errorf("%s, of the repository: %v", below, err)
		}
	}
}

// Two directories of the same base name become one source, which is told.
func TestAnotherDirectoryOfTheSameName(t *testing.T) {
	top, r := t.TempDir(), newRepo(t)
	for _, c := range []struct {
		dir  string
		told bool
	}{{"a/web", false}, {"a/web", false}, {"b/web", true}, {"b/web", false}} {
		dir := filepath.Join(top, c.dir)
		ok(t, os.MkdirAll(dir, 0o700))
		s := clean(t, r, dir, Options{})
		told := slices.ContainsFunc(s.Info.Notes, func(n string) bool { return strings.Contains(n, "the snapshot before was made of") })
		if s.Source != "tree/web" || told != c.told {
			t.Errorf("%s as %s: %q", c.dir, s.Source, s.Info.Notes)
		}
	}
}

func TestCachesAreLeftOut(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	for name, text := range map[string]string{
		"cache/CACHEDIR.TAG": signature + "\n# a cache", "cache/a": "", "cache/below/b": "",
		"no/CACHEDIR.TAG": "Signature: something else", "no/a": "",
	} {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		ok(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	s := clean(t, r, dir, Options{Name: "x", ExcludeCaches: true})
	if got := allPaths(t, openTree(t, r, s)); !slices.Equal(got, []string{"cache/", "cache/CACHEDIR.TAG", "no/", "no/CACHEDIR.TAG", "no/a"}) {
		t.Errorf("%q", got)
	}
}

func TestDatedDirectories(t *testing.T) {
	top, r := t.TempDir(), newRepo(t)
	older, newer := filepath.Join(top, "rsync-web-2026-10-01"), filepath.Join(top, "rsync-web-2026-10-02_183000")
	ok(t, os.Mkdir(older, 0o700))
	long := time.Now().Add(-1000 * time.Hour * 24)
	for i := range 20 {
		name := filepath.Join(older, fmt.Sprint(i))
		ok(t, os.WriteFile(name, testtree.Noise(byte(i), 1000), 0o600))
		ok(t, os.Chtimes(name, long, long))
	}
	run(t, "cp", "-al", older, newer) // gives every file another ctime
	ok(t, os.Remove(filepath.Join(newer, "7")))
	ok(t, os.WriteFile(filepath.Join(newer, "7"), []byte("changed"), 0o600))
	made, err := Ingest(t.Context(), r, []string{newer, older}, Options{})
	ok(t, err)
	if len(made) != 2 {
		t.Fatalf("%d snapshots", len(made))
	}
	for i, want := range []time.Time{time.Date(2026, 10, 1, 0, 0, 0, 0, time.Local), time.Date(2026, 10, 2, 18, 30, 0, 0, time.Local)} {
		if s := made[i].Snapshot; s.Source != "rsync/web" || s.Kind != KindRsync || !s.Time.Equal(want) {
			t.Errorf("%s of kind %s at %v", s.Source, s.Kind, s.Time)
		}
	}
	if n := made[1].Snapshot.Info.Summary.BytesRead; n != int64(len("changed")) {
		t.Errorf("%d bytes were read of the second", n)
	}
	compare(t, openTree(t, r, made[1].Snapshot), newer)
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func TestWhatCannotBeBackedUp(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	file := filepath.Join(dir, "file")
	ok(t, os.WriteFile(file, nil, 0o600))
	good := filepath.Join(dir, "good")
	ok(t, os.Mkdir(good, 0o700))
	for _, c := range []struct {
		dirs  []string
		name  string
		says  string
		usage bool
	}{
		{[]string{filepath.Join(dir, "absent")}, "", "does not exist", false},
		{[]string{file}, "", "is not a directory", false},
		{nil, "", "no directory", true},
		{[]string{""}, "", "is empty", true},
		{[]string{good, dir}, "x", "is for one directory", true},
		{[]string{good, good + "/../good"}, "", "would both become the source tree/good", true},
		{[]string{good}, "a@b", "holds an @", true},
	} {
		made, err := Ingest(t.Context(), r, c.dirs, Options{Name: c.name})
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrUsage) != c.usage || len(made) > 0 {
			t.Errorf("%q as %q: %v", c.dirs, c.name, err)
		}
	}
	made, err := Ingest(t.Context(), r, []string{filepath.Join(dir, "absent"), good}, Options{})
	if err == nil || len(made) != 1 {
		t.Errorf("%d snapshots beside %v", len(made), err)
	}
}

func TestAnInterruptedWalkLeavesNothing(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	for i := range 2000 {
		ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), testtree.Noise(byte(i), 20000), 0o600))
	}
	before := openFiles(t)
	for _, after := range []int64{0, 1 << 20, 20 << 20} {
		ctx, stop := context.WithCancel(t.Context())
		made, err := Ingest(ctx, r, []string{dir}, Options{Name: "x", onRead: onceAt(after, stop)})
		if !errors.Is(err, context.Canceled) || len(made) > 0 {
			t.Errorf("interrupted after %d bytes: %d snapshots, %v", after, len(made), err)
		}
	}
	if all, err := r.Snapshots(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
	if after := openFiles(t); after > before+8 {
		t.Errorf("%d files are open, %d were before", after, before)
	}
	compare(t, openTree(t, r, clean(t, r, dir, Options{Name: "x"})), dir)
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	return len(list)
}

// A directory of which the one before it in the names is large does not wait
// for that, nor do more entries wait than may.
func TestManyWaitForOne(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	ok(t, os.WriteFile(filepath.Join(dir, "0"), testtree.Noise(1, 60<<20), 0o600))
	for i := range 3 {
		sub := filepath.Join(dir, fmt.Sprintf("dir%d", i))
		ok(t, os.Mkdir(sub, 0o700))
		for k := range 2000 {
			ok(t, os.WriteFile(filepath.Join(sub, fmt.Sprint(k)), nil, 0o600))
		}
	}
	for k := range window + 2000 {
		ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("z", k)), nil, 0o600))
	}
	s := clean(t, r, dir, Options{Name: "x"})
	if b := openTree(t, r, s).Root().Below; b.Dirs != 3 || b.Files != 1+3*2000+window+2000 {
		t.Errorf("%+v", b)
	}
}

func TestContentIsWhatPutMakesOfIt(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	want := testtree.Noise(9, 3<<20)
	ok(t, os.WriteFile(filepath.Join(dir, "a"), want, 0o600))
	tree := openTree(t, r, clean(t, r, dir, Options{Name: "x"}))
	if !bytes.Equal(content(t, tree, "a"), want) {
		t.Error("a comes back different")
	}
}

// deepen makes directories one in the other, each with a file, by going from one
// into the next: no path leads there.
func deepen(t testing.TB, dir, name string, depth int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	ok(t, err)
	for range depth {
		ok(t, unix.Mkdirat(fd, name, 0o755))
		below, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		ok(t, err)
		ok(t, unix.Close(fd))
		fd = below
		file, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
		ok(t, err)
		ok(t, unix.Close(file))
	}
	ok(t, unix.Close(fd))
}

// A tree that nobody can name to its end is stored as far as it can be restored,
// and what lies deeper is told of in a line that can be read.
func TestATreeThatIsTooDeep(t *testing.T) {
	for name, want := range map[string]int{"n": maxDepth, strings.Repeat("n", 255): maxPath/256 + 1} {
		r, dir := newRepo(t), filepath.Join(t.TempDir(), "deep")
		ok(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { _ = exec.Command("rm", "-rf", dir).Run() }) // os.RemoveAll goes no further than a path does
		deepen(t, dir, name, want+2)
		made := ingestOne(t, r, dir, Options{})
		said := fmt.Sprintf("lies in %d directories", want)
		if len(made.Warnings) != 1 || !strings.Contains(made.Warnings[0], said) || len(made.Warnings[0]) > 2*maxShown {
			t.Errorf("%d warnings: %.5000q", len(made.Warnings), made.Warnings)
		}
		if s := made.Snapshot.Info.Summary; s.Dirs != int64(want) || s.Files != int64(want)-1 || s.FilesUnread != 1 {
			t.Errorf("%+v", s)
		}
		tree := openTree(t, r, made.Snapshot)
		e := tree.Root()
		for range want {
			var err error
			e, err = tree.Lookup(t.Context(), e, name)
			ok(t, err)
		}
		if e.Below != (repo.Totals{}) {
			t.Errorf("%+v below the last directory", e.Below)
		}
	}
}
