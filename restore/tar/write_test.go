package tar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"vaultfs/ingest/tar"
	fromtree "vaultfs/ingest/tree"
	"vaultfs/internal/testrepo"
	"vaultfs/internal/testtree"
	"vaultfs/repo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a command that must succeed and say nothing.
func run(t testing.TB, env string, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), env)
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s %q: %v\n%s", name, args, err, out)
	}
}

// stored backs an archive up and returns the tree.
func stored(t testing.TB, r *repo.Repo, archive string) *repo.Tree {
	t.Helper()
	made, err := tar.Ingest(t.Context(), r, []string{archive}, tar.Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range made[0].Warnings {
		t.Errorf("warning: %s", w)
	}
	return open(t, r, made[0].Snapshot)
}

func open(t testing.TB, r *repo.Repo, s *repo.Snapshot) *repo.Tree {
	t.Helper()
	tree, err := r.OpenTree(t.Context(), *s.Item(repo.WholeTree))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// written is the archive of a tree.
func written(t testing.TB, tree *repo.Tree, dir *repo.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	report, err := Write(t.Context(), tree, dir, &b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Bytes != int64(b.Len()) || b.Len()%recordSize != 0 {
		t.Errorf("%d bytes, %d are told", b.Len(), report.Bytes)
	}
	for _, w := range report.Warnings {
		t.Errorf("warning: %s", w)
	}
	return b.Bytes()
}

// extract unpacks an archive with a program.
func extract(t testing.TB, archive []byte, env string, program ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "written.tar")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run(t, env, program[0], append(program[1:], "-C", dir, "-f", file)...)
	return dir
}

var gnuExtract = []string{"tar", "-xp", "--warning=no-timestamp", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"}

// nasty makes the nasty tree without its sockets.
func nasty(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	testtree.Make(t, dir)
	run(t, "", "find", dir, "-type", "s", "-delete")
	return dir
}

func TestRoundTrip(t *testing.T) {
	dir := nasty(t)
	r := testrepo.New(t)
	made, err := fromtree.Ingest(t.Context(), r, []string{dir}, fromtree.Options{Verify: true})
	if err != nil || len(made[0].Warnings) > 0 {
		t.Fatal(err, made)
	}
	tree := open(t, r, made[0].Snapshot)
	archive := written(t, tree, tree.Root())
	t.Run("GNU tar", func(t *testing.T) { testtree.Same(t, dir, extract(t, archive, "LC_ALL=C", gnuExtract...)) })
	t.Run("bsdtar", func(t *testing.T) {
		got := extract(t, archive, "LC_ALL=C.UTF-8", "bsdtar", "-xp", "--xattrs", "--acls", "--numeric-owner")
		// It leaves the times of "." alone, and reads those before 1970 as if their
		// fractions came after the second.
		for _, name := range []string{"times/before 1970", "times/just before 1970", "times/directory", ""} {
			copyTime(t, filepath.Join(dir, name), filepath.Join(got, name))
		}
		testtree.Same(t, dir, got)
	})
	again := filepath.Join(t.TempDir(), "again.tar")
	if err := os.WriteFile(again, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	second := stored(t, r, again)
	if got := written(t, second, second.Root()); !bytes.Equal(got, archive) {
		t.Errorf("the archive of the archive's tree is another")
	}
}

// A container's archive comes back as Proxmox takes it: pct restore runs tar with
// these options.
func TestContainer(t *testing.T) {
	packed := filepath.Join(t.TempDir(), "vzdump.tar")
	run(t, "", "sh", "-c", "zstd -q -d -o "+packed+" <../../internal/vma/testdata/archives/vzdump-lxc-105-2026_11_20-03_00_00.tar.zst")
	pct := []string{"tar", "xpf", packed, "--totals=USR1", "--numeric-owner", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability", "--acls", "--warning=no-timestamp"}
	want := t.TempDir()
	run(t, "", "tar", append(pct[1:], "-C", want)...)
	tree := stored(t, testrepo.New(t), packed)
	packed = filepath.Join(t.TempDir(), "written.tar")
	if err := os.WriteFile(packed, written(t, tree, tree.Root()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := t.TempDir()
	pct[2] = packed
	run(t, "", "tar", append(pct[1:], "-C", got)...)
	copyTime(t, filepath.Join(want, "etc/vzdump"), filepath.Join(got, "etc/vzdump")) // which has no member in the first
	testtree.Same(t, want, got)
}

// copyTime gives a file the mtime of another.
func copyTime(t testing.TB, from, to string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}

// Of a directory of the tree, the names begin there.
func TestPart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a/b/c/file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "a/b/socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := testrepo.New(t)
	made, err := fromtree.Ingest(t.Context(), r, []string{dir}, fromtree.Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	tree := open(t, r, made[0].Snapshot)
	part, err := tree.Find(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	report, err := Write(t.Context(), tree, part, &b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{`"./socket" is left out: it is a socket, which no tar archive can hold`}; !slices.Equal(report.Warnings, want) || report.Members != 3 {
		t.Errorf("%+v", report)
	}
	got := extract(t, b.Bytes(), "", gnuExtract...)
	if p, err := os.ReadFile(filepath.Join(got, "c/file")); err != nil || string(p) != "content" {
		t.Errorf("%q, %v", p, err)
	}
	file, err := tree.Find(t.Context(), "a/b/c/file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), tree, file, io.Discard, Options{}); err == nil {
		t.Error("a file was written as a directory")
	}
	full := errors.New("the pipe is closed")
	if _, err := Write(t.Context(), tree, tree.Root(), failing{full}, Options{}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, tree, tree.Root(), io.Discard, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// failing takes nothing.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
