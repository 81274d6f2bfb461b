package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// spoilUntil overwrites memory that is not in use, again and again.
func spoilUntil(stop <-chan struct{}, r *repo.Repo) {
	for with := byte(1); ; with++ {
		select {
		case <-stop:
			return
		default:
			repo.Spoil(r, with)
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// Readers of all kinds, in a cache that is much too small, get the right bytes while
// all memory that was given back is overwritten; so they do beside damage, which
// gives an error and none of its bytes.
func TestMemoryThatIsGivenBackIsNobodysAnyMore(t *testing.T) {
	defer repo.SmallPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	repo.SmallCache(r, 1<<20)
	b := newBackup("vm/a", 1).with(8<<20, random(9, 6<<20)).with(50<<20, bytes.Repeat([]byte("some words that are often here, "), 1<<15))
	b.stream = random(10, 5<<20)
	snap := mustIngest(t, r, b)
	want := make([]byte, b.disk.size)
	b.disk.ReadAt(t.Context(), want, 0)
	d, err := r.OpenDisk(t.Context(), *snap.Item("vda"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.OpenFile(t.Context(), *snap.Item("stream"))
	if err != nil {
		t.Fatal(err)
	}
	bad := damageChunkAt(t, st, r, d, 10<<20)

	stop := make(chan struct{})
	var spoiler, readers sync.WaitGroup
	spoiler.Go(func() { spoilUntil(stop, r) })
	places := []int64{1 << 20, 8 << 20, 11 << 20, 50 << 20, segment + 12345, 2 * segment}
	for seed := range uint64(8) {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(2, seed))
			p := make([]byte, 1<<20)
			for range 40 {
				off := min(places[rnd.IntN(len(places))]+int64(rnd.IntN(3<<20)), d.Size()-512)
				part := p[:1<<rnd.IntN(21)]
				for i := range part {
					part[i] = 0xee
				}
				switch rnd.IntN(4) {
				case 0:
					off %= f.Size()
					f.Prefetch(off, 1<<20)
					n, err := f.ReadAt(part, off)
					if (err != nil && err != io.EOF) || !bytes.Equal(part[:n], b.stream[off:off+int64(n)]) {
						t.Errorf("stream at %d: %d bytes, %v", off, n, err)
					}
				case 1:
					d.Prefetch(off, 4<<20)
					fallthrough
				default:
					n, err := d.ReadAt(part, off)
					if !bytes.Equal(part[:n], want[off:off+int64(n)]) {
						t.Errorf("disk at %d: other bytes", off)
					}
					hit := off < bad.end && off+int64(len(part)) > bad.begin
					if hit != errors.Is(err, repo.ErrDamaged) || (err != nil && !hit && err != io.EOF) {
						t.Errorf("disk at %d, %d bytes: %v, damaged from %d to %d", off, len(part), err, bad.begin, bad.end)
					}
					if from := max(0, bad.begin-off); hit && from < int64(len(part)) {
						for i := range part[from:min(int64(len(part)), bad.end-off)] {
							if c := part[from:][i]; c != 0 && c != 0xee {
								t.Errorf("disk at %d: a byte of what was not proved", off)
								break
							}
						}
					}
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	spoiler.Wait()
	for range 100 { // what is read ahead ends by itself
		if repo.Users(r) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d users of chunks are left", repo.Users(r))
}

type stretch struct{ begin, end int64 }

// damageChunkAt spoils the chunk of a disk at an offset, and tells where it lies.
func damageChunkAt(t *testing.T, st *store.Dir, r *repo.Repo, d *repo.Disk, off int64) (lies stretch) {
	t.Helper()
	extents, err := d.Segment(int(off / segment))
	if err != nil {
		t.Fatal(err)
	}
	start := off / segment * segment
	for _, e := range extents {
		if lies = (stretch{start + e.Off, start + e.Off + e.Len}); lies.begin <= off && off < lies.end {
			object, at := repo.MiddleOf(r, e.ID)
			replace(t, st, object, bitFlipped(t, st, object, at))
			return lies
		}
	}
	t.Fatal("no chunk there")
	return lies
}

// However many disks and files are read, what is read ahead of all of them is bounded.
func TestReadAheadOfAllDisksIsBounded(t *testing.T) {
	defer repo.SmallPacks()()
	r := newRepo(t, newStore(t))
	snap := mustIngest(t, r, newBackup("vm/a", 1).with(8<<20, random(9, 2<<20)))
	d, err := r.OpenDisk(t.Context(), *snap.Item("vda"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Segment(0); err != nil {
		t.Fatal(err)
	}
	before, undo := repo.Held(r), repo.FillAhead(r)
	d.Prefetch(8<<20, 2<<20)
	time.Sleep(50 * time.Millisecond)
	if n := repo.Held(r) - before; n > 0 {
		t.Errorf("%d chunks more are read ahead than may be", n)
	}
	undo()
	for range 500 {
		if d.Prefetch(8<<20, 2<<20); repo.Held(r) > before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("nothing is read ahead")
}

// A pack that was found damaged is opened anew: a good copy that somebody puts in
// its place is read, though the damaged file was kept open.
func TestGoodCopyOfADamagedPackIsRead(t *testing.T) {
	m := store.NewMem()
	st, admin := memStore(t, m), memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	snap := mustIngest(t, r, newBackup("vm/a", 1))
	d, err := r.OpenDisk(t.Context(), *snap.Item("vda"))
	if err != nil {
		t.Fatal(err)
	}
	m1, err := d.Segment(0)
	if err != nil {
		t.Fatal(err)
	}
	object, at := repo.MiddleOf(r, m1[0].ID)
	good, err := admin.Get(t.Context(), object, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, admin, object, bitFlipped(t, admin, object, at))
	st.Reopen(object)
	p := make([]byte, 512)
	if _, err := d.ReadAt(p, m1[0].Off); !errors.Is(err, repo.ErrDamaged) {
		t.Fatalf("damage was read: %v", err)
	}
	replace(t, admin, object, good)
	if _, err := d.ReadAt(p, m1[0].Off); err != nil {
		t.Errorf("the good copy is not read: %v", err)
	}
}

// A sparse file that says it has more in one chunk than a chunk can hold is damaged:
// no memory is taken for what it says.
func TestFileThatSaysItsChunkIsHuge(t *testing.T) {
	st := memStore(t, store.NewMem())
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "tree/a", Kind: "tree"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(context.WithoutCancel(t.Context()))
	const size = 1 << 55
	lane := s.Lane()
	ranges, err := lane.Put(t.Context(), format.EncodeRanges([]format.Range{{Off: 4096, Len: size - 8192}}))
	if err != nil {
		t.Fatal(err)
	}
	data, err := lane.Put(t.Context(), random(1, 4096))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddFile(t.Context(), "f", bytes.NewReader(random(2, 100))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), repo.Info{Program: "test"}); err != nil {
		t.Fatal(err)
	}
	f, err := repo.OpenContent(t.Context(), r, repo.Content{Kind: format.ChunkContent, ID: data, Size: size, Ranges: ranges})
	if err == nil {
		_, err = f.ReadAt(make([]byte, 512), 8192)
	}
	if !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("%v", err)
	}
}
