package ingest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// testCutter is a real cutter, under a fixed key.
var testCutter = chunk.NewDisk([32]byte{7, 1, 2})

// grainPool are grains that a test disk is made of: each cuts, or not, behind a
// chunk of sufficient length.
var grainPool = sync.OnceValue(func() (pool struct{ cutting, plain [][]byte }) {
	for seed := byte(0); len(pool.cutting) < 3 || len(pool.plain) < 20; seed++ {
		g := make([]byte, chunk.Grain)
		rand.NewChaCha8([32]byte{seed}).Read(g)
		p := bytes.Repeat(g, chunk.DiskMax/chunk.Grain)
		if _, n := testCutter.Next(p, true); n < chunk.DiskMax {
			pool.cutting = append(pool.cutting, g)
		} else {
			pool.plain = append(pool.plain, g)
		}
	}
	return pool
})

// zeroGrains are as many zeros as the largest cluster of a case.
var zeroGrains = make([]byte, 16*chunk.Grain)

// grainOf draws a grain: one in some is zeros, one in some ends a chunk.
func grainOf(rng *rand.Rand, zeros, cutting int) []byte {
	pool := grainPool()
	switch {
	case zeros > 0 && rng.IntN(zeros) == 0:
		return zeroGrains[:chunk.Grain]
	case cutting > 0 && rng.IntN(cutting) == 0:
		return pool.cutting[rng.IntN(len(pool.cutting))]
	}
	return pool.plain[rng.IntN(len(pool.plain))]
}

// drawSegment fills a segment: stretches of grains of one sort.
func drawSegment(rng *rand.Rand, p []byte) {
	for at := 0; at < len(p); {
		run := p[at:min(len(p), at+(1+rng.IntN(1+rng.IntN(200)))*chunk.Grain)]
		fillGrains(rng, run)
		at += len(run)
	}
}

// fillGrains fills p: with a constant, zeros, or a mixture with few or many
// zeros and cuts.
func fillGrains(rng *rand.Rand, p []byte) {
	sort := rng.IntN(6)
	zeros, cutting := []int{0, 0, 2, 9, 40, 0}[sort], []int{0, 32, 3, 20, 9, 0}[sort]
	constant := grainOf(rng, 3, 3)
	for ; len(p) > 0; p = p[chunk.Grain:] {
		if sort == 0 {
			copy(p, constant)
		} else {
			copy(p, grainOf(rng, zeros, cutting))
		}
	}
}

// change changes grains of a segment and returns what a bitmap says of it, in
// bytes: it calls more dirty than what differs, in blocks of some grains.
func change(rng *rand.Rand, p []byte) (dirty []Run) {
	block := int64([]int{1, 1, 2, 16}[rng.IntN(4)] * chunk.Grain)
	for range rng.IntN(6) {
		at := rng.IntN(len(p)/chunk.Grain) * chunk.Grain
		run := p[at:min(len(p), at+(1+rng.IntN(1+rng.IntN(40)))*chunk.Grain)]
		switch rng.IntN(5) {
		case 0: // written again as it was
		case 1:
			clear(run)
		default:
			fillGrains(rng, run)
		}
		from, to := int64(at)/block*block, (int64(at+len(run))+block-1)/block*block
		dirty = append(dirty, Run{from, to - from})
	}
	return dirty
}

// sum stands for the ID of a chunk: the first bytes of each grain tell which
// of the pool it is.
func sum(p []byte) (id chunk.ID) {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	for ; len(p) > 0; p = p[chunk.Grain:] {
		h.Write(p[:8])
	}
	binary.LittleEndian.PutUint64(id[:], h.Sum64())
	return id
}

var sumSeed = maphash.MakeSeed()

// cutWhole cuts a segment from its start to its end.
func cutWhole(p []byte) (m repo.SegmentMap) {
	for at := 0; at < len(p); {
		zeros, n := testCutter.Next(p[at:], true)
		if at += zeros; n == 0 {
			break
		}
		m = append(m, repo.Extent{Off: int64(at), Len: int64(n), ID: sum(p[at : at+n])})
		at += n
	}
	return m
}

// A recutCase is a segment before and after, and what is said of it.
type recutCase struct {
	before, after []byte
	dirty, data   []Run // as a recutter takes them
	base          repo.SegmentMap
	chunks        map[chunk.ID][]byte // takes what is put, if it is not nil
}

// A bench is the memory that cases are drawn and recut in, one at a time.
type bench struct{ before, after, buf, read []byte }

// mostGrains is the size of the largest segment of a case.
const mostGrains = 300

func newBench() *bench {
	return &bench{make([]byte, mostGrains*chunk.Grain), make([]byte, mostGrains*chunk.Grain), make([]byte, recutBuffer), make([]byte, recutBuffer)}
}

func (b *bench) draw(rng *rand.Rand) recutCase {
	n := (1 + rng.IntN(1+rng.IntN(mostGrains))) * chunk.Grain
	c := recutCase{before: b.before[:n], after: b.after[:n]}
	drawSegment(rng, c.before)
	c.base = cutWhole(c.before)
	copy(c.after, c.before)
	raw := change(rng, c.after)
	runs, err := tidy(raw, 0, int64(len(c.after)))
	if err != nil {
		panic(err)
	}
	c.dirty = wholeGrains(runs, 0, int64(len(c.after)))
	// Allocation is as coarse as that of qcow2, or as fine as can be.
	var data []Run
	cluster := []int{1, 16}[rng.IntN(2)] * chunk.Grain
	for at := 0; at < len(c.after); at += cluster {
		block := c.after[at:min(len(c.after), at+cluster)]
		if rng.IntN(20) == 0 || !bytes.Equal(block, zeroGrains[:len(block)]) {
			data = appendRun(data, Run{int64(at), int64(len(block))})
		}
	}
	c.data = both(c.dirty, data)
	return c
}

// recut runs a recutter over the case. Every window is of at most some grains.
// It fails the test when dirty bytes are asked of the stored segment, and
// returns how many clean ones were.
func (b *bench) recut(t testing.TB, rng *rand.Rand, c recutCase) (m repo.SegmentMap, stored int64) {
	windows, out := c.windows(rng), 0
	r := &recutter{
		cutter: testCutter, size: int64(len(c.after)), base: c.base, dirty: c.dirty, data: c.data,
		buf: b.buf,
		window: func() (window, error) {
			out++
			w := windows[0]
			windows = windows[1:]
			w.buf = b.read[:chunk.DiskMax+w.n]
			copy(w.buf[chunk.DiskMax:], c.after[w.off:])
			return w, nil
		},
		release: func(window) { out-- },
		stored: func(p []byte, off int64) error {
			if length(within(c.dirty, off, int64(len(p)))) > 0 {
				t.Fatalf("%d bytes at %d are asked of the stored segment, and some are dirty", len(p), off)
			}
			stored += int64(len(p))
			copy(p, c.before[off:])
			return nil
		},
		put: func(p []byte) (chunk.ID, error) {
			if c.chunks != nil {
				c.chunks[sum(p)] = bytes.Clone(p)
			}
			return sum(p), nil
		},
	}
	m, err := r.run()
	if err != nil {
		t.Fatal(err)
	}
	if len(windows) > 0 || out > 0 {
		t.Fatalf("%d windows are left, %d were not given back", len(windows), out)
	}
	return m, stored
}

// windows are the data of the case, as read.
func (c recutCase) windows(rng *rand.Rand) (all []window) {
	most := int64(1+rng.IntN(windowSize/chunk.Grain)) * chunk.Grain
	for _, r := range c.data {
		for off, end := r.Off, r.Off+r.Len; off < end; {
			n := min(most, end-off)
			all = append(all, window{off: off, n: int(n), ends: off+n == end})
			off += n
		}
	}
	return all
}

// TestRecutIsCut: what a recutter makes is what cutting the whole segment makes.
func TestRecutIsCut(t *testing.T) {
	const cases, parts = 20_000, 2
	for part := range parts {
		t.Run(fmt.Sprintf("from seed %d", part*cases), func(t *testing.T) {
			t.Parallel()
			b := newBench()
			for i := range cases / parts {
				seed := uint64(part*cases + i)
				rng := rand.New(rand.NewPCG(seed, 1))
				c := b.draw(rng)
				got, _ := b.recut(t, rng, c)
				if want := cutWhole(c.after); !slices.Equal(got, want) {
					t.Fatalf("seed %d, dirty %v, data %v\nbefore %v\ngot  %v\nwant %v", seed, c.dirty, c.data, c.base, got, want)
				}
			}
		})
	}
}

// anyMap cuts a segment anyhow, and may count zeros to a chunk.
func anyMap(rng *rand.Rand, p []byte, chunks map[chunk.ID][]byte) (m repo.SegmentMap) {
	for at := 0; at < len(p); {
		n := min(1+rng.IntN(chunk.DiskMax/chunk.Grain), (len(p)-at)/chunk.Grain) * chunk.Grain
		if piece := p[at : at+n]; rng.IntN(4) == 0 || !isZero(piece) {
			m = append(m, repo.Extent{Off: int64(at), Len: int64(n), ID: sum(piece)})
			chunks[sum(piece)] = bytes.Clone(piece)
		}
		at += n
	}
	return m
}

// TestRecutOfAnyMap: of a stored segment that was not cut as this cutter cuts,
// the bytes come out right nevertheless.
func TestRecutOfAnyMap(t *testing.T) {
	b := newBench()
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 2))
		c, chunks := b.draw(rng), map[chunk.ID][]byte{}
		c.base, c.chunks = anyMap(rng, c.before, chunks), chunks
		m, _ := b.recut(t, rng, c)
		got, end := make([]byte, len(c.after)), int64(0)
		for _, e := range m {
			if e.Off < end || int64(len(chunks[e.ID])) != e.Len {
				t.Fatalf("seed %d: %+v behind %d, of %d bytes", seed, e, end, len(chunks[e.ID]))
			}
			end = e.Off + e.Len
			copy(got[e.Off:], chunks[e.ID])
		}
		if !bytes.Equal(got, c.after) {
			t.Fatalf("seed %d: the segment comes out different", seed)
		}
	}
}
