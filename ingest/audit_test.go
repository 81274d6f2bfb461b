package ingest

import (
	"errors"
	"math/rand/v2"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// audited runs an audit of the disk against the base.
func audited(t testing.TB, r *repo.Repo, g *guestDisk, dirty []Run, base *repo.Disk, o AuditOptions) (int64, error) {
	t.Helper()
	p, before := new(Progress), g.read.Load()
	n, err := Audit(t.Context(), r, g, these(dirty), base, o, p)
	if read := g.read.Load() - before; err == nil && (read != n || p.Read.Load() != n || p.Done.Load() != n || p.Total.Load() != n) {
		t.Errorf("%d bytes compared, %d read: %d of %d done, %d read", n, read, p.Done.Load(), p.Total.Load(), p.Read.Load())
	}
	return n, err
}

func openDisk(t testing.TB, r *repo.Repo, snap *repo.Snapshot) *repo.Disk {
	t.Helper()
	d, err := r.OpenDisk(t.Context(), snap.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// An honest bitmap passes, and the whole of what is clean is looked at, but for
// chunks that are dirty in part.
func TestAuditOfAnHonestBitmap(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	base := openDisk(t, r, full(t, r, before))
	clean, err := DataBytes(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changedCases(before.size) {
		after, dirty := before.with(c.writes...)
		n, err := audited(t, r, after, dirty, base, AuditOptions{Share: 1})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if least := clean - length(dirty) - int64(len(c.writes))*2*chunk.DiskMax; n > clean || n < least {
			t.Errorf("%s: %d bytes were compared, %d hold data and %d are dirty", c.name, n, clean, length(dirty))
		}
		if _, err := audited(t, r, after, dirty, base, AuditOptions{Share: 0.3}); err != nil {
			t.Errorf("%s: a share: %v", c.name, err)
		}
		if n, err := audited(t, r, after, dirty, base, AuditOptions{Budget: 1 << 20}); err != nil || n > 1<<20 {
			t.Errorf("%s: a budget: %d bytes, %v", c.name, n, err)
		}
	}
	if n, err := audited(t, r, before, nil, base, AuditOptions{}); n != 0 || err != nil {
		t.Errorf("without a share and a budget: %d, %v", n, err)
	}
	if n, err := audited(t, r, newDisk(before.size), []Run{{0, before.size}}, base, AuditOptions{Share: 1, Budget: 1 << 30}); n != 0 || err != nil {
		t.Errorf("everything is dirty: %d, %v", n, err)
	}
}

// Whatever a bitmap leaves out is found by an audit of everything.
func TestAuditFindsEveryLie(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	base := openDisk(t, r, full(t, r, before))
	for _, w := range []write{
		{off: 5000, n: 1}, {off: 3 << 20, n: 4096, zeros: true}, {off: 3 << 20, n: 200 << 10, zeros: true},
		{off: repo.SegmentSize + 7<<20 + 100, n: 3}, {off: repo.SegmentSize - 5, n: 10},
		{off: before.size - 1, n: 1}, {off: before.size - 5000, n: 5000, zeros: true}, {off: 24<<20 + 60<<10, n: 1},
	} {
		after, _ := before.with(w)
		// What is honestly dirty lies elsewhere.
		honest := write{off: 2*repo.SegmentSize + 50<<20, n: 1 << 20}
		after, dirty := after.with(honest)
		_, err := audited(t, r, after, dirty, base, AuditOptions{Share: 1})
		var lie *AuditError
		if !errors.As(err, &lie) {
			t.Errorf("%+v: %v", w, err)
			continue
		}
		if lie.Off >= w.off+w.n || lie.Off+lie.Len <= w.off || lie.Len > chunk.DiskMax {
			t.Errorf("%+v: %v", w, lie)
		}
	}
}

// A share finds a lie about as often as it is large.
func TestAuditIsASample(t *testing.T) {
	r, before := newRepo(t), newDisk(2*repo.SegmentSize)
	before, _ = before.with(write{off: 60 << 20, n: 8 << 20})
	base := openDisk(t, r, full(t, r, before))
	after, _ := before.with(write{off: 63 << 20, n: 100})
	const tries = 100
	for _, c := range []struct {
		o           AuditOptions
		least, most int
	}{
		{AuditOptions{Share: 0.25}, tries / 20, tries / 2},
		{AuditOptions{Budget: 4 << 20}, 1, tries},
	} {
		found := 0
		var all int64
		for range tries {
			n, err := audited(t, r, after, nil, base, c.o)
			var lie *AuditError
			if errors.As(err, &lie) {
				found++
			} else if err != nil {
				t.Fatal(err)
			}
			all += n
		}
		if found < c.least || found > c.most || all > tries*4<<20 {
			t.Errorf("%+v: found in %d of %d, %d bytes compared", c.o, found, tries, all)
		}
	}
}

// What was written where there was nothing is found within the default budget,
// when most of it is not in the bitmap.
func TestAuditFindsNewDataInEmptyPlaces(t *testing.T) {
	r, before := newRepo(t), newDisk(40<<30)
	before, _ = before.with(write{off: 1 << 30, n: 1 << 20})
	base := openDisk(t, r, full(t, r, before))
	var writes []write
	rng := rand.New(rand.NewPCG(3, 3))
	for off := int64(0); off < before.size; off += 128 << 20 {
		writes = append(writes, write{off: off + rng.Int64N(127<<20), n: 4096})
	}
	after, _ := before.with(writes...)
	var lie *AuditError
	if n, err := audited(t, r, after, nil, base, AuditOptions{Budget: 4 << 20}); !errors.As(err, &lie) {
		t.Errorf("%d bytes compared: %v", n, err)
	}
}
