package tree_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/internal/testtree"
	"vaultfs/repo"
	"vaultfs/repo/store"
	"vaultfs/restore"
	"vaultfs/restore/tree"
)

// temporary counts files that are not whole below a directory. Others must be
// as in the source, if there is one.
func (w *world) temporary(dest, source string) (n int) {
	w.Helper()
	w.must(filepath.WalkDir(w.path(dest), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if strings.HasPrefix(d.Name(), ".vaultfs-restore-") {
			n++
			return nil
		}
		if source == "" {
			return nil
		}
		got, err := os.ReadFile(path)
		w.must(err)
		want, err := os.ReadFile(w.path(source) + strings.TrimPrefix(path, w.path(dest)))
		w.must(err)
		if !bytes.Equal(got, want) {
			w.Errorf("%s is not whole", path)
		}
		return nil
	}))
	return n
}

// many stores a tree of that many files.
func (w *world) many(files int, size int) *repo.Tree {
	w.Helper()
	w.mkdir("source")
	for i := range files {
		if i%100 == 0 {
			w.mkdir(fmt.Sprintf("source/%03d", i/100))
		}
		w.write(fmt.Sprintf("source/%03d/%05d", i/100, i), strings.Repeat(fmt.Sprint(i, " "), size/6+1), 1000)
	}
	return w.store("source")
}

func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	stored := w.many(2000, 5000)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	report, err := tree.Restore(ctx, stored, stored.Root(), w.path("dest"), tree.Options{Each: func(tree.Action, string) {
		if n++; n == 500 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || report == nil || report.Files < 400 || report.Files > 600 {
		t.Errorf("%+v, %v", report, err)
	}
	if n := w.temporary("dest", "source"); n > 0 {
		t.Errorf("%d temporary files are left", n)
	}
	w.restore(stored, "dest", tree.Options{Overwrite: tree.IfNewer})
	testtree.Same(t, w.path("source"), w.path("dest"))
}

func TestKilled(t *testing.T) {
	w := newWorld(t)
	stored := w.many(2000, 10000)
	c, _ := w.child(0, "source", "dest")
	w.must(c.Start())
	for !w.exists("dest/005") {
		time.Sleep(time.Millisecond)
	}
	w.must(c.Process.Kill())
	_ = c.Wait()
	t.Logf("%d temporary files are left", w.temporary("dest", "source"))
	w.restore(stored, "dest", tree.Options{Overwrite: tree.Always, Delete: true})
	testtree.Same(t, w.path("source"), w.path("dest"))
}

func TestAnotherUser(t *testing.T) {
	w := newWorld(t)
	testtree.Make(t, w.path("source"))
	w.store("source")
	w.mkdir("home")
	w.must(os.Chown(w.path("home"), 65534, 65534))
	c, out := w.child(65534, "source", "home/dest")
	w.must(c.Start())
	var a answer
	w.must(json.NewDecoder(out).Decode(&a))
	w.must(c.Wait())
	t.Logf("%+v", a)
	if a.Err != "" || a.Losses[tree.DeviceLost] != 3 || a.Losses[tree.OwnerLost] < 3000 || a.Losses[tree.XattrLost] == 0 || a.Losses[tree.NotRestored]+a.Losses[tree.Damaged] > 0 {
		t.Errorf("%+v", a)
	}
	want, got := testtree.Describe(t, w.path("source")), testtree.Describe(t, w.path("home/dest"))
	for _, same := range []string{"contents/large", "sparse/odd size", "symlinks/long", "times/before 1970", "names/-rf", "links/z first", "modes/0400"} {
		a, b := withoutOwner(want[same]), withoutOwner(got[same])
		if a != b {
			t.Errorf("%q\n is %s\nnot %s", same, b, a)
		}
	}
	// Nobody runs a program as another than its owner was.
	for path, text := range got {
		if strings.HasPrefix(path, "modes/") && strings.HasPrefix(text, "mode 104") {
			t.Errorf("%s is set-user-ID: %s", path, text)
		}
	}
}

func withoutOwner(text string) string {
	before, rest, _ := strings.Cut(text, " owner ")
	_, after, _ := strings.Cut(rest, " ")
	return before + after
}

// ramfs has neither extended attributes nor access control lists.
func TestFileSystemWithoutAttributes(t *testing.T) {
	w := newWorld(t)
	testtree.Make(t, w.path("source"))
	stored := w.store("source")
	w.mkdir("dest")
	w.must(unix.Mount("ramfs", w.path("dest"), "ramfs", 0, ""))
	defer unix.Unmount(w.path("dest"), unix.MNT_DETACH)
	e, err := stored.Find(t.Context(), "attributes")
	w.must(err)
	report, err := tree.Restore(t.Context(), stored, e, w.path("dest/x"), tree.Options{Overwrite: tree.Always})
	w.must(err)
	losses := map[tree.Loss]int64{}
	for _, f := range report.Failures {
		losses[f.Loss] = f.Count
	}
	if losses[tree.ACLLost] != 4 || losses[tree.XattrLost] != 3 || len(losses) != 2 || report.Files != 6 {
		t.Errorf("%v, %+v", losses, report)
	}
}

func TestFullFileSystem(t *testing.T) {
	w := newWorld(t)
	stored := w.many(1000, 10000)
	w.mkdir("small")
	w.must(unix.Mount("tmpfs", w.path("small"), "tmpfs", 0, "size=2m"))
	defer unix.Unmount(w.path("small"), unix.MNT_DETACH)

	_, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("small/dest"), tree.Options{})
	var space *restore.SpaceError
	if !errors.As(err, &space) || space.Need < 6_000_000 || w.exists("small/dest") {
		t.Errorf("error %v", err)
	}
	w.mkdir("small/dest")
	w.write("small/dest/exists", "exists", 1)
	report, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("small/dest"), tree.Options{Overwrite: tree.Always})
	if err == nil || !strings.Contains(err.Error(), "no space is left for "+w.path("small/dest/")) || report.Files < 10 {
		t.Errorf("%+v, %v", report, err)
	}
	w.must(os.Remove(w.path("small/dest/exists")))
	if n := w.temporary("small/dest", "source"); n > 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// A tree whose files are longer than the medium, but have holes, fits.
func TestSparseFits(t *testing.T) {
	w := newWorld(t)
	w.mkdir("source")
	f, err := os.Create(w.path("source/sparse"))
	w.must(err)
	w.must(f.Truncate(1 << 30))
	_, err = f.WriteAt([]byte("end"), 1<<30-3)
	w.must(err)
	w.must(f.Close())
	w.must(os.Link(w.path("source/sparse"), w.path("source/again")))
	stored := w.store("source")
	w.mkdir("small")
	w.must(unix.Mount("tmpfs", w.path("small"), "tmpfs", 0, "size=1m"))
	defer unix.Unmount(w.path("small"), unix.MNT_DETACH)
	report := w.restore(stored, "small/dest", tree.Options{})
	if report.Bytes > 8192 || report.Links != 1 {
		t.Errorf("%+v", report)
	}
	if info, err := os.Stat(w.path("small/dest/again")); err != nil || info.Size() != 1<<30 {
		t.Errorf("%v, %v", info, err)
	}
}

// A damaged chunk costs the files that need it and nothing else.
func TestDamagedFile(t *testing.T) {
	w := newWorld(t)
	testtree.Make(t, w.path("source"))
	w.store("source")
	w.flip()
	st, err := store.OpenDir(w.path("repo"))
	w.must(err)
	defer st.Close()
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{})
	w.must(err)
	defer r.Close()
	snap, err := r.Resolve(t.Context(), "tree/source")
	w.must(err)
	stored, err := r.OpenTree(t.Context(), snap.Items[0])
	w.must(err)
	report, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), tree.Options{})
	w.must(err)
	if len(report.Failures) != 1 || report.Failures[0].Loss != tree.Damaged || !errors.Is(report.Damage(), repo.ErrDamaged) {
		t.Fatalf("%+v", report.Failures)
	}
	if w.temporary("dest", "source") > 0 {
		t.Error("a part of a damaged file is there")
	}
	for _, c := range report.Failures[0].First {
		t.Logf("%s: %v", c.Path, c.Err)
		if w.exists(strings.TrimPrefix(c.Path, w.dir+"/")) {
			t.Errorf("%s is there", c.Path)
		}
		lost := "source" + strings.TrimPrefix(c.Path, w.path("dest"))
		w.must(os.Remove(w.path(lost)))
		w.touch(filepath.Dir(lost), 1)
		w.touch("dest"+strings.TrimPrefix(filepath.Dir(lost), "source"), 1)
	}
	testtree.Same(t, w.path("source"), w.path("dest"))
}

// flip flips a bit in the middle of the largest pack.
func (w *world) flip() {
	w.Helper()
	packs, err := filepath.Glob(w.path("repo/packs/*/*"))
	w.must(err)
	var largest []byte
	var name string
	for _, pack := range packs {
		if b, err := os.ReadFile(pack); err == nil && len(b) > len(largest) {
			largest, name = b, pack
		}
	}
	largest[len(largest)/2] ^= 1
	w.must(os.WriteFile(name, largest, 0o600))
}

// Somebody swaps directories of the destination for links to other places all
// the time. Nothing may change there.
func TestHostileDestination(t *testing.T) {
	w := newWorld(t)
	stored := w.many(1000, 100)
	w.restore(stored, "dest", tree.Options{})
	w.mkdir("victim")
	for i := range 10 {
		w.mkdir(fmt.Sprintf("victim/%03d", i))
	}
	w.write("victim/000/00000", "victim", 1)
	before := testtree.Describe(t, w.path("victim"))

	stop := make(chan struct{})
	var attackers sync.WaitGroup
	for i := range 2 {
		attackers.Go(func() {
			aside := w.path(fmt.Sprintf("aside%d", i))
			for n := i; ; n += 2 {
				select {
				case <-stop:
					return
				default:
				}
				dir := fmt.Sprintf("%03d", n%10)
				if os.Rename(w.path("dest/"+dir), aside) != nil {
					os.Remove(w.path("dest/" + dir))
					continue
				}
				os.Symlink(w.path("victim/"+dir), w.path("dest/"+dir))
				time.Sleep(100 * time.Microsecond)
				os.Remove(w.path("dest/" + dir))
				os.RemoveAll(w.path("dest/" + dir))
				os.Rename(aside, w.path("dest/"+dir))
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	for range 5 {
		_, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), tree.Options{Overwrite: tree.Always, Delete: true})
		if err != nil {
			t.Error(err)
		}
	}
	close(stop)
	attackers.Wait()
	after := testtree.Describe(t, w.path("victim"))
	for path := range before {
		if before[path] != after[path] {
			t.Errorf("%s\n was %s\n is %s", path, before[path], after[path])
		}
	}
	if len(before) != len(after) {
		t.Errorf("%d files, %d now", len(before), len(after))
	}
}
