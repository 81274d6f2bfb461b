package ingest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
)

// oneChunk is a disk with little in it: damage to its pack is damage to it.
func oneChunk() *guestDisk {
	g, _ := newDisk(2 * repo.SegmentSize).with(write{off: 1 << 20, n: cluster})
	return g
}

// spoil overwrites a byte of the first chunk, and what follows up to a share of
// the length, of the packs for which pick is true.
func spoil(t *testing.T, dir string, last float64, pick func(pack []byte) bool) (spoiled []string) {
	t.Helper()
	return spoilFrom(t, dir, 0, last, pick)
}

// spoilFrom is spoil of what lies between two shares of the length.
func spoilFrom(t *testing.T, dir string, first, last float64, pick func(pack []byte) bool) (spoiled []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "packs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil || !pick(p) {
			return err
		}
		spoiled = append(spoiled, "pack "+filepath.Base(path)[:16])
		for i := 100 + int(float64(len(p))*first); i < 101+int(float64(len(p))*last); i++ {
			p[i] ^= 0x55
		}
		return os.WriteFile(path, p, 0o600)
	})
	if err != nil || len(spoiled) == 0 {
		t.Fatalf("%d packs are spoiled, %v", len(spoiled), err)
	}
	return spoiled
}

// dataPack tells packs of data from those of structure, by their headers.
func dataPack(pack []byte) bool { return pack[8] == 1 }
func mapPack(pack []byte) bool  { return !dataPack(pack) }

// onlyLost demands that a repository is whole but for packs in which nothing
// is left that a snapshot needs.
func onlyLost(t *testing.T, r *repo.Repo, packs []string) {
	t.Helper()
	got, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got.Findings {
		if !slices.Contains(packs, f.Object) || len(f.Touches) > 0 {
			t.Errorf("verify: %s: %v; touches %v", f.Object, f.Err, f.Touches)
		}
	}
}

// What the base has lost is stored again, with all else that the disk has in
// the same pack, and the snapshot reads back.
func TestBaseIsDamaged(t *testing.T) {
	for _, c := range []struct {
		name   string
		disk   *guestDisk
		last   float64 // from the beginning to there the packs are damaged
		least  int     // bytes of a pack that is damaged: damage in one that nothing reads is not found
		writes []write
	}{
		{"much of it", threeAndABit(), 0.8, 4 << 20, []write{{off: 1<<20 + 5, n: 3000}, {off: 2 << 20, n: 1}, {off: 25 << 20, n: 64 << 10}}},
		{"one byte, and the guest writes what was there", oneChunk(), 0, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, dir := newRepoIn(t)
			before := c.disk
			base := full(t, r, before)
			packs := spoil(t, dir, c.last, func(pack []byte) bool { return dataPack(pack) && len(pack) >= c.least })
			s := session(t, r, base)
			img, dirty := before.with(c.writes...)
			if c.writes == nil {
				dirty = []Run{{1<<20 + 4096, 4096}}
			}
			p := new(Progress)
			p.Total.Add(mustCount(t, img, dirty))
			got, err := CopyChanged(t.Context(), s, img, these(dirty), openBase(t, s), p)
			if err != nil {
				t.Fatal(err)
			}
			if got.Lost == 0 || !errors.Is(got.Loss, repo.ErrDamaged) || got.Kept+got.Cut != 0 || got.Dirty != length(dirty) {
				t.Errorf("%+v", got)
			}
			if grains(p.Done.Load()) != grains(p.Total.Load()) || p.Read.Load() != img.read.Load() {
				t.Errorf("%d bytes read, %d are told; %d of %d done", img.read.Load(), p.Read.Load(), p.Done.Load(), p.Total.Load())
			}
			if want := mustCopy(t, s, img); got.Root != want {
				t.Errorf("root %v, CopyDisk makes %v", got.Root, want)
			}
			snap := commit(t, s, got.Root, img.size)
			img.same(t, openDisk(t, r, snap))
			if notes := strings.Join(snap.Info.Notes, "\n"); !strings.Contains(notes, packs[0]) {
				t.Errorf("the notes do not tell of %s: %q", packs[0], notes)
			}
			if c.writes == nil {
				onlyLost(t, r, packs)
			}
			// And the next increment goes on from there.
			next, dirty := img.with(write{off: 9 << 20, n: 100})
			s = session(t, r, snap)
			got, err = CopyChanged(t.Context(), s, next, these(dirty), openBase(t, s), new(Progress))
			if err != nil || got.Loss != nil {
				t.Fatal(got, err)
			}
			next.same(t, openDisk(t, r, commit(t, s, got.Root, next.size)))
		})
	}
}

// Damage that is met in one disk keeps another, which was taken over before,
// from being committed with it; the next session is told, and reads it whole.
func TestAnotherDiskOfTheSessionIsDamaged(t *testing.T) {
	r, dir := newRepoIn(t)
	img := oneChunk()
	s := session(t, r, nil)
	for _, name := range []string{"vdb", "vda"} {
		add(t, s, name, mustCopy(t, s, img), img.size)
	}
	base, err := s.Commit(t.Context(), repo.Info{Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	packs := spoil(t, dir, 0, dataPack)
	s = session(t, r, base)
	first, err := CopyChanged(t.Context(), s, img, these(nil), openBase(t, s), new(Progress))
	if err != nil || first.Loss != nil {
		t.Fatal(first, err)
	}
	add(t, s, "vda", first.Root, img.size)
	disk, err := s.OpenBase(t.Context(), "vdb")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.ReadAt(make([]byte, 5000), 1<<20); !errors.Is(err, repo.ErrDamaged) {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), repo.Info{}); !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), "run the backup again") {
		t.Errorf("committed with a disk that cannot be read: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = session(t, r, base)
	if _, err := s.OpenBase(t.Context(), "vda"); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("the next session is not told: %v", err)
	}
	img.same(t, openDisk(t, r, commit(t, s, mustCopy(t, s, img), img.size)))
	onlyLost(t, r, packs)
}

// A base that cannot be read for another reason than damage is told as what it
// is, and nobody is told of damage.
func TestBaseCannotBeRead(t *testing.T) {
	r, dir := newRepoIn(t)
	img := oneChunk()
	s := session(t, r, full(t, r, img))
	base := openBase(t, s)
	path, aside := largestPack(t, dir), filepath.Join(dir, "aside")
	if err := errors.Join(os.Rename(path, aside), os.Symlink(path, path)); err != nil {
		t.Fatal(err)
	}
	got, err := CopyChanged(t.Context(), s, img, these([]Run{{1<<20 + 4096, 4096}}), base, new(Progress))
	if err != nil {
		t.Fatal(err)
	}
	if got.Lost == 0 || got.Loss == nil || errors.Is(got.Loss, repo.ErrDamaged) {
		t.Errorf("%+v", got)
	}
	if err := errors.Join(os.Remove(path), os.Rename(aside, path)); err != nil {
		t.Fatal(err)
	}
	img.same(t, openDisk(t, r, commit(t, s, got.Root, img.size)))
	onlyLost(t, r, nil)
}

// largestPack is the path of a repository's largest pack.
func largestPack(t *testing.T, dir string) (largest string) {
	t.Helper()
	most := int64(0)
	paths, err := filepath.Glob(filepath.Join(dir, "packs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() > most {
			largest, most = path, st.Size()
		}
	}
	return largest
}

// A disk of which a map is damaged is read from the image as a whole, which
// heals the snapshot before as well if the guest has changed nothing.
func TestMapOfBaseIsDamaged(t *testing.T) {
	r, dir := newRepoIn(t)
	before := threeAndABit()
	s := session(t, r, full(t, r, before))
	base := openBase(t, s)
	packs := spoil(t, dir, 0.8, mapPack)
	got, err := CopyChanged(t.Context(), s, before, these([]Run{{1 << 20, 4096}}), base, new(Progress))
	if err != nil {
		t.Fatal(err)
	}
	if got.Lost == 0 || !errors.Is(got.Loss, repo.ErrDamaged) {
		t.Errorf("%+v", got)
	}
	before.same(t, openDisk(t, r, commit(t, s, got.Root, before.size)))
	before.same(t, openDisk(t, r, s.Previous()))
	onlyLost(t, r, packs)
}
