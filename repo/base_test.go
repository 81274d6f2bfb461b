package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// An increment is the same snapshot as a full backup: it has the same root, and
// every byte comes back.
func TestIncrementIsTheSameAsAFullBackup(t *testing.T) {
	defer repo.SmallPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	first := newBackup("vm/a", 10)
	second := first.changed(20)
	base := mustIngest(t, r, first)
	got, full, err := second.increment(t.Context(), r, base, first)
	if err != nil || full != nil {
		t.Fatalf("the increment: %v, %v", full, err)
	}
	second.mustRead(t, r, got)
	first.mustRead(t, r, base)
	if !strings.Contains(got.Info.Verified, "1 segments, which were taken over from snapshot "+base.Short()) {
		t.Errorf("verified says %q", got.Info.Verified)
	}
	other := second
	other.source = "vm/b"
	if want := mustIngest(t, r, other); want.Item("vda").Root != got.Item("vda").Root {
		t.Error("a full backup has another root")
	}
	// Nothing changed at all: the root is that of the base.
	again, full, err := second.increment(t.Context(), r, got, second)
	if err != nil || full != nil || again.Item("vda").Root != got.Item("vda").Root {
		t.Errorf("an increment of nothing: %v, %v, %v", again, full, err)
	}
	second.mustRead(t, reopen(t, st), again)
}

// drawDisk draws what becomes of a disk: segments change, come and go, and so
// does the size.
func drawDisk(t *rapid.T, old scattered) scattered {
	d := scattered{size: old.size, data: maps.Clone(old.data)}
	if old.data == nil || rapid.IntRange(0, 2).Draw(t, "resize") == 0 {
		d.size = rapid.Int64Range(1, 4).Draw(t, "segments")*segment - rapid.SampledFrom([]int64{0, 512, 4096, segment / 2, segment - 512}).Draw(t, "less")
	}
	if d.data == nil {
		d.data = map[int64][]byte{}
	}
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		off := rapid.Int64Range(0, d.size/segment).Draw(t, "segment")*segment + rapid.SampledFrom([]int64{0, 4096, 8<<20 + 512, segment / 2, segment - 4096}).Draw(t, "offset")
		if _, there := d.data[off]; there && rapid.Bool().Draw(t, "zero") {
			delete(d.data, off)
			continue
		}
		d.data[off] = random(rapid.Uint64Range(0, 1000).Draw(t, "seed"), rapid.SampledFrom([]int{1, 4096}).Draw(t, "length"))
	}
	maps.DeleteFunc(d.data, func(off int64, b []byte) bool { return off >= d.size })
	return d
}

// Whatever becomes of a disk, what is taken over is what a full backup stores.
func TestIncrementsOfAnyDisk(t *testing.T) {
	defer repo.SmallPacks()()
	rapid.Check(t, func(rt *rapid.T) {
		st := newStore(t)
		initRepo(t, st)
		r := reopen(t, st)
		defer r.Close()
		was := backup{source: "vm/a", disk: drawDisk(rt, scattered{}), tree: dirOf(nil)}
		base := mustIngest(t, r, was)
		for range 2 {
			is := was
			is.disk = drawDisk(rt, was.disk)
			snap, full, err := is.increment(t.Context(), r, base, was)
			if err != nil || full != nil {
				rt.Fatalf("increment: %v, %v", full, err)
			}
			s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/b"})
			if err != nil {
				rt.Fatal(err)
			}
			root, err := is.disk.store(t.Context(), s)
			if err := errors.Join(err, s.Abort(t.Context())); err != nil {
				rt.Fatal(err)
			}
			if snap.Item("vda").Root != root {
				rt.Fatalf("the root is not that of a full backup")
			}
			d, err := r.OpenDisk(t.Context(), *snap.Item("vda"))
			if err == nil {
				err = is.disk.same(d)
			}
			if err != nil {
				rt.Fatal(err)
			}
			was, base = is, snap
		}
		mustVerify(t, r)
	})
}

// What the base lost is a reason not to rely on it, in a line; the full backup
// that is made then heals it, and after that it is relied on again.
func TestBaseThatLostAPack(t *testing.T) {
	for how, damaged := range map[string]func(b []byte) []byte{
		"missing":       func([]byte) []byte { return nil },
		"cut off":       func(b []byte) []byte { return b[:len(b)-1] },
		"found damaged": func(b []byte) []byte { b = bytes.Clone(b); b[100] ^= 1; return b },
	} {
		t.Run(how, func(t *testing.T) {
			v := newVictim(t, "vm/a", 10)
			for _, name := range v.of("packs") {
				st := v.with(t, map[string][]byte{name: damaged(v.objects[name])})
				r := reopen(t, st)
				if how == "found damaged" {
					result, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: true})
					if err != nil || len(result.Findings) != 1 {
						t.Fatalf("verify: %v, %v", result, err)
					}
				}
				base := v.snapshots[1]
				touched := holds(t, r, v, name, base)
				third := v.second
				snap, full, err := third.increment(t.Context(), r, base, v.second)
				if err != nil {
					t.Fatalf("%s: the next backup: %v", label(name), err)
				}
				third.mustRead(t, r, snap)
				if !touched {
					if full != nil || !strings.Contains(snap.Info.Verified, "taken over") {
						t.Errorf("%s is not of the disk, but: %v; %s", label(name), full, snap.Info.Verified)
					}
					continue
				}
				if !errors.Is(full, repo.ErrDamaged) || !strings.Contains(full.Error(), label(name)) || strings.Contains(full.Error(), "\n") {
					t.Errorf("%s: the reason is %v", label(name), full)
				}
				v.second.mustRead(t, r, base)
				if _, full, err = third.increment(t.Context(), reopen(t, st), snap, third); full != nil || err != nil {
					t.Errorf("%s: after it was healed: %v, %v", label(name), full, err)
				}
			}
		})
	}
}

// holds tells whether the disk of a snapshot needs a pack.
func holds(t *testing.T, r *repo.Repo, v *victim, pack string, s *repo.Snapshot) bool {
	t.Helper()
	result, err := reopen(t, v.with(t, map[string][]byte{pack: nil})).Verify(t.Context(), repo.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Findings {
		for _, touch := range f.Touches {
			if touch.Snapshot.ID == s.ID && touch.Item == "vda" {
				return true
			}
		}
	}
	return false
}

// A lost pack that is forgotten as well, because the index was made anew, or is
// not known yet because an old head is in force, does not go unnoticed.
func TestBaseAndAnotherIndex(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	base := v.snapshots[1]
	third := v.second.with(50<<20, random(90, 5000))
	increment := func(t *testing.T, st *store.Dir) error {
		t.Helper()
		r := reopen(t, st)
		snap, full, err := third.increment(t.Context(), r, base, v.second)
		if err != nil {
			t.Fatalf("the next backup: %v", err)
		}
		third.mustRead(t, r, snap)
		mustVerify(t, r)
		return full
	}
	t.Run("made anew", func(t *testing.T) {
		st := v.with(t, nil)
		if err := reopen(t, st).RebuildIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if full := increment(t, st); full != nil {
			t.Errorf("nothing is lost, but: %v", full)
		}
	})
	for _, name := range v.of("packs") {
		t.Run("made anew without "+label(name), func(t *testing.T) {
			st := v.with(t, map[string][]byte{name: nil})
			r := reopen(t, st)
			if err := r.RebuildIndex(t.Context()); err != nil {
				t.Fatal(err)
			}
			snap, full, err := third.increment(t.Context(), r, base, v.second)
			if err != nil {
				t.Fatal(err)
			}
			third.mustRead(t, r, snap)
			if touched := holds(t, r, v, name, base); touched != errors.Is(full, repo.ErrDamaged) {
				t.Errorf("it is needed: %v, the reason is %v", touched, full)
			}
		})
	}
	for what, changes := range losses(v) {
		t.Run(what, func(t *testing.T) { increment(t, v.with(t, changes)) })
	}
}

// Between the choice of the base and the lease that names it the base may go,
// or be marked as one that is to go.
func TestBaseThatIsGone(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for how, forget := range map[string]func(st *store.Dir, id string) error{
		"removed": func(st *store.Dir, id string) error { return st.Delete(t.Context(), "snapshots/"+id) },
		"marked":  func(st *store.Dir, id string) error { return st.Put(t.Context(), "forgotten/"+id, nil) },
	} {
		t.Run(how, func(t *testing.T) {
			st := v.with(t, nil)
			r := reopen(t, st)
			base := mustSnapshots(t, r)[0]
			if err := forget(st, base.ID); err != nil {
				t.Fatal(err)
			}
			third := v.second.with(50<<20, random(90, 5000))
			snap, full, err := third.increment(t.Context(), r, base, v.first)
			if !errors.Is(full, repo.ErrBaseGone) || err != nil {
				t.Errorf("it is gone: %v, %v", full, err)
			}
			third.mustRead(t, r, snap)
		})
	}
}

// Verify finds what an increment took over like all else: it touches both.
func TestVerifyOfAnIncrement(t *testing.T) {
	defer repo.SmallPacks()()
	st := newStore(t)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	first := newBackup("vm/a", 10)
	base := mustIngest(t, r, first)
	snap, full, err := first.changed(20).increment(t.Context(), r, base, first)
	if err != nil || full != nil {
		t.Fatal(full, err)
	}
	if got := mustVerify(t, r); got.Snapshots != 2 || got.Items != 8 {
		t.Errorf("%d snapshots with %d items", got.Snapshots, got.Items)
	}
	d, err := r.OpenDisk(t.Context(), *base.Item("vda"))
	if err != nil {
		t.Fatal(err)
	}
	last, err := d.Segment(2) // the one that was taken over
	if err != nil || len(last) != 1 {
		t.Fatal(last, err)
	}
	if err := st.Delete(t.Context(), repo.PackOf(r, last[0].ID)); err != nil {
		t.Fatal(err)
	}
	result, err := r.Verify(t.Context(), repo.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	touched := map[string]int64{}
	for _, f := range result.Findings {
		for _, touch := range f.Touches {
			if touch.Item == "vda" {
				touched[touch.Snapshot.ID] += touch.Bytes
			}
		}
	}
	for _, s := range []*repo.Snapshot{base, snap} {
		if touched[s.ID] < last[0].Len {
			t.Errorf("snapshot %d loses %d bytes of %d", s.Seq, touched[s.ID], last[0].Len)
		}
	}
}

// The reasons that have nothing to do with damage.
func TestOpenBaseSaysWhyNot(t *testing.T) {
	r := newRepo(t, newStore(t))
	first := newBackup("vm/a", 10)
	base := mustIngest(t, r, first)
	open := func(base *repo.Snapshot, disk string) error {
		t.Helper()
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/b", Base: base})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Abort(t.Context())
		_, err = s.OpenBase(t.Context(), disk)
		return err
	}
	if err := open(nil, "vda"); !errors.Is(err, repo.ErrNoBase) {
		t.Errorf("without a base: %v", err)
	}
	for _, name := range []string{"vdb", "nvram.fd"} {
		if err := open(base, name); !errors.Is(err, repo.ErrNotFound) || !strings.Contains(err.Error(), name) {
			t.Errorf("no disk %s: %v", name, err)
		}
	}
	if err := open(base, "vda"); err != nil {
		t.Errorf("base of another source: %v", err)
	}
	if _, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/b", Base: &repo.Snapshot{ID: "x"}}); err == nil {
		t.Error("a base without an ID is accepted")
	}
}

// Only what OpenBase of the same session gave is taken over, and only where it
// fits.
func TestInheritRefuses(t *testing.T) {
	r := newRepo(t, newStore(t))
	snap := mustIngest(t, r, newBackup("vm/a", 10))
	session := func(source string) (*repo.Session, *repo.Disk) {
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: source, Machine: "m-" + source, Base: snap})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Abort(context.Background()) })
		d, err := s.OpenBase(t.Context(), "vda")
		if err != nil {
			t.Fatal(err)
		}
		return s, d
	}
	s, base := session("vm/a")
	_, other := session("vm/b")
	plain, err := r.OpenDisk(t.Context(), *snap.Item("vda"))
	if err != nil {
		t.Fatal(err)
	}
	w := s.NewDisk()
	for what, err := range map[string]error{
		"of no session":        w.Inherit(plain, 0),
		"of another session":   w.Inherit(other, 0),
		"behind the end":       w.Inherit(base, int64(base.Segments())),
		"before the beginning": w.Inherit(base, -1),
	} {
		if err == nil {
			t.Errorf("a segment %s is taken over", what)
		}
	}
	for i := range int64(3) {
		if err := w.Inherit(base, i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Finish(t.Context(), s.Lane(), base.Size()-512); err == nil {
		t.Error("a segment is taken over that holds more than the disk")
	}
	root, err := w.Finish(t.Context(), s.Lane(), base.Size())
	if err != nil || root != snap.Item("vda").Root {
		t.Errorf("all taken over: root %v, %v", root, err)
	}
	// What is set later counts, zeros too.
	for i := range int64(3) {
		if err := w.SetSegment(t.Context(), s.Lane(), i, nil); err != nil {
			t.Fatal(err)
		}
	}
	empty, err := w.Finish(t.Context(), s.Lane(), base.Size())
	zeros, _ := s.NewDisk().Finish(t.Context(), s.Lane(), base.Size())
	if err != nil || empty != zeros {
		t.Errorf("zeros in the place of what was taken over: %v, %v", empty, err)
	}
}

// What the snapshot says was taken over is what its disks took over: neither an
// increment that was given up counts, nor one that was made twice.
func TestVerifiedCountsWhatIsTakenOver(t *testing.T) {
	r := newRepo(t, newStore(t))
	b := newBackup("vm/a", 10)
	snap := mustIngest(t, r, b)
	for round, whole := range []bool{false, true} {
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Machine: "m-vm/a", Base: snap})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Abort(t.Context())
		base, err := s.OpenBase(t.Context(), "vda")
		if err != nil {
			t.Fatal(err)
		}
		is := b.changed(uint64(90 + round))
		var root chunk.ID
		for range 2 {
			if root, err = is.disk.storeFrom(t.Context(), s, base, b.disk); err != nil {
				t.Fatal(err)
			}
		}
		if whole {
			if root, err = is.disk.store(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		snap, err = is.commit(t.Context(), s, root)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(snap.Info.Verified, "1 segments, which were taken over"); got == whole || whole && strings.Contains(snap.Info.Verified, "taken over") {
			t.Errorf("all was read at last: %v, but: %s", whole, snap.Info.Verified)
		}
		is.mustRead(t, r, snap)
		b = is
	}
}

// Everything of a disk can be taken over by many at once.
func TestInheritConcurrently(t *testing.T) {
	r := newRepo(t, newStore(t))
	b := newBackup("vm/a", 10)
	snap := mustIngest(t, r, b)
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Machine: "m-vm/a", Base: snap})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	w := s.NewDisk()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			base, err := s.OpenBase(t.Context(), "vda")
			for i := int64(0); err == nil && i < 3; i++ {
				err = w.Inherit(base, i)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	root, err := w.Finish(t.Context(), s.Lane(), b.disk.size)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.commit(t.Context(), s, root)
	if err != nil {
		t.Fatal(err)
	}
	b.mustRead(t, r, again)
}

// A session that takes over and is given up leaves nothing.
func TestInheritAndAbort(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	b := newBackup("vm/a", 10)
	snap := mustIngest(t, r, b)
	before := objects(t, st)
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Machine: "m-vm/a", Base: snap})
	if err != nil {
		t.Fatal(err)
	}
	base, err := s.OpenBase(t.Context(), "vda")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.disk.storeFrom(t.Context(), s, base, b.disk); err != nil {
		t.Fatal(err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := objects(t, st); !slices.Equal(before, after) {
		t.Errorf("before: %v\nafter: %v", before, after)
	}
	checkExplained(t, st)
}

// A pack that vanishes while the session goes on keeps it from being committed,
// taken over or not.
func TestPackThatVanishesBeforeTheCommit(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	base := v.snapshots[1]
	for _, name := range v.of("packs") {
		st := v.with(t, nil)
		r := reopen(t, st)
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Machine: "m-vm/a", Base: base})
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.OpenBase(t.Context(), "vda")
		if err != nil {
			t.Fatal(err)
		}
		third := v.second.with(50<<20, random(90, 5000))
		root, err := third.disk.storeFrom(t.Context(), s, d, v.second.disk)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		snap, err := third.commit(t.Context(), s, root)
		if err == nil {
			third.mustRead(t, reopen(t, st), snap)
		} else if !errors.Is(err, repo.ErrDamaged) {
			t.Errorf("without %s: %v", label(name), err)
		}
		s.Abort(t.Context())
	}
}

// Segment, HasData and Identify agree with what is read.
func TestSegmentsOfADisk(t *testing.T) {
	r := newRepo(t, newStore(t))
	b := newBackup("vm/a", 10)
	b.disk.size = 4 * segment
	snap := mustIngest(t, r, b)
	d, err := r.OpenDisk(t.Context(), *snap.Item("vda"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Segments() {
		m, err := d.Segment(i)
		if err != nil {
			t.Fatal(err)
		}
		if has, err := d.HasData(i); err != nil || has != (len(m) > 0) || has != (i < 3) {
			t.Errorf("segment %d has data: %v, %v; it has %d extents", i, has, err, len(m))
		}
		for _, x := range m {
			p := make([]byte, x.Len)
			if _, err := d.ReadAt(p, int64(i)*segment+x.Off); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if r.Identify(p) != x.ID || x.Len%chunk.Grain != 0 {
				t.Errorf("segment %d: extent %+v holds something else", i, x)
			}
		}
	}
	for _, i := range []int{-1, 4} {
		if _, err := d.Segment(i); err == nil {
			t.Errorf("there is a segment %d", i)
		}
		if _, err := d.HasData(i); err == nil {
			t.Errorf("there is a segment %d", i)
		}
	}
}

// BytesAdded tells the part of one disk while others are stored beside it.
func TestBytesAdded(t *testing.T) {
	r := newRepo(t, newStore(t))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	l, data := s.Lane(), random(1, 64<<10)
	for i, c := range []struct {
		plain    []byte
		min, max int64
	}{
		{data, 64 << 10, 64<<10 + 32},
		{data, 0, 0},                         // it is there already
		{make([]byte, 64<<10)[1:], 17, 1000}, // it compresses
	} {
		before := s.Stats().BytesAdded
		if _, err := l.Put(t.Context(), c.plain); err != nil {
			t.Fatal(err)
		}
		if added := s.Stats().BytesAdded - before; added < c.min || added > c.max {
			t.Errorf("put %d: %d bytes added, want %d to %d", i, added, c.min, c.max)
		}
	}
}

// The checkpoint of a disk comes back, and so does what is told of it.
func TestItemsTellOfThemselves(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	b := newBackup("vm/a", 10)
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	root, err := b.disk.store(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	want := repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: b.disk.size, Root: root, Checkpoint: "vaultfs-2",
		Origin: repo.Origin{Path: "/vda.raw", Format: "raw", How: "full: the checkpoint is gone", Read: 5, Dirty: 4, New: 3, Stored: 2}}
	if err := s.AddItem(want); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), repo.Info{Method: "backup", Summary: repo.Summary{BytesDirty: 4}}); err != nil {
		t.Fatal(err)
	}
	got := mustSnapshots(t, reopen(t, st))[0]
	if *got.Item("vda") != want || got.Info.Method != "backup" || got.Info.Summary.BytesDirty != 4 {
		t.Errorf("%+v", got)
	}
}
