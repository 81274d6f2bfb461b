package fusefs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/repo"
)

const (
	firstSnap = "vm/win11/2026-11-21T12-00-00Z"
	raw       = firstSnap + "/disks/vda.raw"
	qcow      = firstSnap + "/disks/vda.qcow2"
)

func TestTree(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, reported := mount(t, r, Options{})
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if rel, _ := filepath.Rel(dir, path); !d.IsDir() {
			got = append(got, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.opens.Load(); n > 0 {
		t.Errorf("walking the tree opened %d disks", n)
	}
	var want []string
	for snap, disks := range map[string]string{
		"win11/2026-11-21T12-00-00Z":             "vda vdb",
		"win11/2026-11-21T13-00-00Z":             "vda empty",
		"win11/2026-11-21T13-00-00Z-2":           "vda",
		"%2Eodd%0A%FF name/2026-11-21T12-00-00Z": "vda",
	} {
		for disk := range strings.FieldsSeq(disks) {
			want = append(want, "vm/"+snap+"/disks/"+disk+".raw", "vm/"+snap+"/disks/"+disk+".qcow2")
		}
		want = append(want, "vm/"+snap+"/domain.xml", "vm/"+snap+"/tpm/state")
	}
	want = append(want, "vm/win11/latest", "vm/%2Eodd%0A%FF name/latest")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}

	for link, want := range map[string]string{"win11": "2026-11-21T13-00-00Z-2", "%2Eodd%0A%FF name": "2026-11-21T12-00-00Z"} {
		if target, err := os.Readlink(filepath.Join(dir, "vm", link, "latest")); err != nil || target != want {
			t.Errorf("latest of %s is %q, %v", link, target, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "vm/win11/latest/tpm/state"))
	if err != nil || string(text) != fileContent("tpm/state") {
		t.Errorf("%q, %v", text, err)
	}
	for _, missing := range []string{"x", "vm/x", firstSnap + "/x", firstSnap + "/disks/vdx.raw", "vm/win11/2026"} {
		if _, err := os.Stat(filepath.Join(dir, missing)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", missing, err)
		}
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

func stat(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(path, err)
	}
	return st
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, _ := mount(t, r, Options{})
	other, _ := mount(t, r, Options{})
	newest := noon.Add(time.Hour + time.Millisecond)
	inodes := map[uint64]string{}
	for path, want := range map[string]struct {
		mode uint32
		size int64
		time time.Time
	}{
		"":                           {dirMode, 0, newest},
		"vm":                         {dirMode, 0, newest},
		"vm/win11":                   {dirMode, 0, newest},
		"vm/win11/latest":            {linkMode, 22, newest},
		firstSnap:                    {dirMode, 0, noon},
		firstSnap + "/disks":         {dirMode, 0, noon},
		firstSnap + "/domain.xml":    {privateMode, 22, noon},
		raw:                          {fileMode, 40<<20 + 512, noon},
		firstSnap + "/disks/vdb.raw": {fileMode, 1000, noon},
		"vm/win11/latest/../2026-11-21T13-00-00Z/disks/empty.raw": {fileMode, 0, noon.Add(time.Hour)},
	} {
		st := stat(t, filepath.Join(dir, path))
		if st.Mode != want.mode || st.Size != want.size || st.Uid != uint32(os.Getuid()) || st.Gid != uint32(os.Getgid()) {
			t.Errorf("%s: mode %o size %d owner %d:%d", path, st.Mode, st.Size, st.Uid, st.Gid)
		}
		for _, ts := range []unix.Timespec{st.Mtim, st.Ctim, st.Atim} {
			if !time.Unix(ts.Unix()).Equal(want.time) {
				t.Errorf("%s: time %v, want %v", path, time.Unix(ts.Unix()).UTC(), want.time)
			}
		}
		if again := stat(t, filepath.Join(other, path)); again.Ino != st.Ino || again.Ino == 0 {
			t.Errorf("%s: inode %d in one mount, %d in another", path, st.Ino, again.Ino)
		}
		if was := inodes[st.Ino]; was != "" {
			t.Errorf("%s and %s have the same inode", path, was)
		}
		inodes[st.Ino] = path
	}
	allocated := r.disks["vda"].Allocated()
	if st := stat(t, filepath.Join(dir, raw)); st.Blocks*512 != allocated {
		t.Errorf("raw: %d blocks, %d bytes are allocated", st.Blocks, allocated)
	}
	if st := stat(t, filepath.Join(dir, qcow)); st.Blocks*512 != st.Size || st.Size < allocated {
		t.Errorf("qcow2: %d blocks, size %d", st.Blocks, st.Size)
	}
}

func TestMountOptions(t *testing.T) {
	dir, _ := mount(t, newFakeRepository(), Options{AllowOther: true})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if !strings.Contains(line, dir) {
			continue
		}
		for _, want := range []string{"ro,nosuid,nodev", "- fuse.vaultfs vaultfs ro", "default_permissions", "allow_other", "max_read=1048576"} {
			if !strings.Contains(line, want) {
				t.Errorf("no %s in %s", want, line)
			}
		}
	}
	st := stat(t, dir)
	knob := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	if kb, err := os.ReadFile(knob); err != nil || string(kb) != "4096\n" {
		t.Errorf("read-ahead is %q, %v", kb, err)
	}
	nobody := []string{"--reuid=65534", "--regid=65534", "--clear-groups", "head", "-c", "512"}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "setpriv", append(nobody, filepath.Join(dir, raw))...); len(out) != 512 {
		t.Errorf("another user reads %d bytes of a disk", len(out))
	}
	if out, err := exec.Command("setpriv", append(nobody, filepath.Join(dir, firstSnap, "domain.xml"))...).CombinedOutput(); err == nil {
		t.Errorf("another user reads a definition: %q", out)
	}
	for _, attempt := range []error{
		os.WriteFile(filepath.Join(dir, "x"), nil, 0o600),
		os.Remove(filepath.Join(dir, raw)),
		os.Truncate(filepath.Join(dir, raw), 1),
	} {
		if !errors.Is(attempt, syscall.EROFS) {
			t.Errorf("a change: %v", attempt)
		}
	}
}

func TestSnapshotsComeAndGo(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, reported := mount(t, r, Options{})
	open, err := os.Open(filepath.Join(dir, raw))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	list := func(sub string) []string {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if got := list("vm"); len(got) != 2 {
		t.Fatal(got)
	}
	fresh := filepath.Join(dir, "vm/new/latest/domain.xml")
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}

	r.commit("vm/new", 1, noon, "vda")
	r.commit("vm/win11", 4, noon.Add(2*time.Hour), "vda")
	r.mu.Lock()
	r.snapshots = slices.DeleteFunc(r.snapshots, func(s *repo.Snapshot) bool { return s.Source == "vm/win11" && s.Seq == 1 })
	r.unlisted = errors.Join(&repo.DamageError{Object: "snapshot 77", Err: errors.New("cut off")}, &repo.DamageError{Object: "snapshot 88", Err: errors.New("cut off")})
	r.mu.Unlock()
	time.Sleep(freshness + freshness/10)

	if text, err := os.ReadFile(fresh); err != nil || string(text) != fileContent("domain.xml") {
		t.Errorf("%q, %v", text, err)
	}
	want := []string{"2026-11-21T13-00-00Z", "2026-11-21T13-00-00Z-2", "2026-11-21T14-00-00Z", "latest"}
	if got := list("vm/win11"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if target, _ := os.Readlink(filepath.Join(dir, "vm/win11/latest")); target != want[2] {
		t.Errorf("latest is %q", target)
	}
	if _, err := os.Stat(filepath.Join(dir, raw)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the forgotten snapshot: %v", err)
	}
	p := make([]byte, 1<<20)
	if _, err := open.ReadAt(p, 1<<20); err != nil {
		t.Errorf("what was open before: %v", err)
	}
	mustEqual(t, "open file", p, r.disks["vda"].bytes(t)[1<<20:][:1<<20])

	time.Sleep(freshness + freshness/10)
	list("vm")
	if got := reported.String(); got != "a snapshot is not shown: snapshot 77: cut off\na snapshot is not shown: snapshot 88: cut off" {
		t.Errorf("reported %q", got)
	}
	r.mu.Lock()
	r.snapshots, r.unlisted = nil, errors.New("the disk is gone")
	r.mu.Unlock()
	time.Sleep(freshness + freshness/10)
	if got := list("vm"); len(got) != 3 {
		t.Errorf("a repository that cannot be listed: %q", got)
	}
	if !strings.Contains(reported.String(), "the disk is gone") {
		t.Errorf("reported %q", reported)
	}
}

// TestListingIsShared has many processes look at once.
func TestListingIsShared(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, _ := mount(t, r, Options{})
	time.Sleep(freshness)
	before := r.lists.Load()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := os.ReadDir(filepath.Join(dir, "vm/win11")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := r.lists.Load() - before; n > 2 {
		t.Errorf("listed %d times", n)
	}
}
