package ingest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/chunk"
	"vaultfs/repo"
)

// A followed is what came of cutting a segment along a map.
type followed struct {
	m            repo.SegmentMap
	kept, put    int64 // bytes
	named        int64 // bytes that were hashed
	chunks       map[chunk.ID][]byte
	longestCarry int
}

// follow cuts a segment along a map, given in windows of the given grains, the last
// one repeated. A window also ends where the runs of data do.
func follow(base repo.SegmentMap, p []byte, runs []Run, windows []int) (got followed, err error) {
	got.chunks = map[chunk.ID][]byte{}
	f := &follower{cutter: testCutter, base: base, inStep: true,
		name: func(p []byte) chunk.ID { got.named += int64(len(p)); return sum(p) },
		put: func(_ context.Context, id chunk.ID, p []byte) error {
			got.put += int64(len(p))
			got.chunks[id] = bytes.Clone(p)
			return nil
		},
		kept: func(n int64) { got.kept += n },
	}
	for _, r := range runs {
		begin := r.Off // of what is not cut yet
		for at, end := r.Off, r.Off+r.Len; at < end; {
			at = min(end, at+int64(windows[0])*chunk.Grain)
			if len(windows) > 1 {
				windows = windows[1:]
			}
			for begin < at {
				zeros, n, err := f.next(context.Background(), p[begin:at], begin, at == end)
				if err != nil {
					return got, err
				}
				if begin += int64(zeros + n); n == 0 {
					break
				}
			}
			got.longestCarry = max(got.longestCarry, int(at-begin))
		}
		if begin != r.Off+r.Len {
			return got, fmt.Errorf("%d bytes before a hole are left over", r.Off+r.Len-begin)
		}
	}
	got.m = f.made
	return got, nil
}

// dataRuns are the runs of a segment that hold data, with an allocation of so many
// bytes.
func dataRuns(p []byte, cluster int) (runs []Run) {
	for at := 0; at < len(p); at += cluster {
		block := p[at:min(len(p), at+cluster)]
		if !isZero(block) {
			runs = appendRun(runs, Run{int64(at), int64(len(block))})
		}
	}
	return runs
}

// after is a segment that came out of another one: written to, shifted, punched,
// cut off, grown, or another one altogether.
func after(rng *rand.Rand, before []byte) []byte {
	p := bytes.Clone(before)
	for range rng.IntN(4) {
		at := rng.IntN(1+len(p)/chunk.Grain) * chunk.Grain
		switch rng.IntN(7) {
		case 0: // shifted
			more := make([]byte, (1+rng.IntN(40))*chunk.Grain)
			fillGrains(rng, more)
			p = slices.Insert(p, at, more...)
		case 1: // shifted the other way
			p = slices.Delete(p, at, min(len(p), at+(1+rng.IntN(40))*chunk.Grain))
		case 2: // cut off
			p = p[:at]
		case 3: // grown
			more := make([]byte, (1+rng.IntN(150))*chunk.Grain)
			drawSegment(rng, more)
			p = append(p, more...)
		case 4: // zeros become data: what ended before them goes on
			for i := 0; i < len(p); i += chunk.Grain {
				if isZero(p[i:i+chunk.Grain]) && rng.IntN(3) == 0 {
					copy(p[i:], grainOf(rng, 0, 8))
				}
			}
		case 5: // another disk
			drawSegment(rng, p)
		default:
			if len(p) > 0 {
				change(rng, p)
			}
		}
	}
	return p[:min(len(p), mostGrains*chunk.Grain)]
}

// TestFollowedIsCut: along whatever earlier state of a segment it is cut, what comes
// out is what cutting it afresh gives.
func TestFollowedIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3))
		before := make([]byte, (1+rng.IntN(1+rng.IntN(mostGrains)))*chunk.Grain)
		drawSegment(rng, before)
		is := after(rng, before)
		cluster := rapid.SampledFrom([]int{chunk.Grain, 16 * chunk.Grain, 512 * chunk.Grain}).Draw(t, "cluster")
		windows := rapid.SliceOfN(rapid.IntRange(1, 200), 1, 20).Draw(t, "windows")
		got, err := follow(cutWhole(before), is, dataRuns(is, cluster), windows)
		if err != nil {
			t.Fatal(err)
		}
		if want := cutWhole(is); !slices.Equal(got.m, want) {
			t.Fatalf("along %v\ngot  %v\nwant %v", cutWhole(before), got.m, want)
		}
		if got.longestCarry > chunk.DiskMax {
			t.Fatalf("%d bytes are carried over", got.longestCarry)
		}
		if total := length(covered(got.m)); got.kept+got.put != total || got.named < total {
			t.Fatalf("%d bytes kept, %d put, %d hashed, of %d", got.kept, got.put, got.named, total)
		}
	})
}

// TestFollowedAlongAnyMap: along a map that this cutter did not make, the bytes come
// out right nevertheless, and nothing is kept that is not as it was.
func TestFollowedAlongAnyMap(t *testing.T) {
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 4))
		before := make([]byte, (1+rng.IntN(mostGrains))*chunk.Grain)
		drawSegment(rng, before)
		chunks := map[chunk.ID][]byte{}
		base := anyMap(rng, before, chunks)
		is := after(rng, before)
		f, err := follow(base, is, dataRuns(is, chunk.Grain), []int{1 + rng.IntN(200)})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, end := make([]byte, len(is)), int64(0)
		for _, e := range f.m {
			p := f.chunks[e.ID]
			if p == nil && slices.Contains(base, e) {
				p = chunks[e.ID]
			}
			if e.Off < end || int64(len(p)) != e.Len {
				t.Fatalf("seed %d: %+v behind %d, of %d bytes", seed, e, end, len(p))
			}
			end = e.Off + e.Len
			copy(got[e.Off:], p)
		}
		if !bytes.Equal(got, is) {
			t.Fatalf("seed %d: the segment comes out different", seed)
		}
	}
}

// TestFollowingCosts: nothing is put of a segment that did not change, and wrong
// guesses hash little twice.
func TestFollowingCosts(t *testing.T) {
	const size = 64 << 20
	p := make([]byte, size)
	noise(1, p)
	base := cutWhole(p)
	of := func(p []byte) followed {
		t.Helper()
		got, err := follow(base, p, []Run{{0, int64(len(p))}}, []int{512})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := of(p); got.put != 0 || got.named != size {
		t.Errorf("unchanged: %d bytes put, %d hashed, of %d", got.put, got.named, size)
	}
	scattered := bytes.Clone(p)
	for i := range 5 { // each within a chunk of its own
		noise(uint64(100+i), scattered[i*12<<20:][:chunk.Grain])
	}
	if got := of(scattered); got.put > 5*3*chunk.DiskMax || got.named > size+5*chunk.DiskMax {
		t.Errorf("scattered: %d bytes put, %d hashed, of %d", got.put, got.named, size)
	}
	noise(2, p)
	if got := of(p); got.kept != 0 || got.named > size+chunk.DiskMax {
		t.Errorf("all new: %d bytes kept, %d hashed, of %d", got.kept, got.named, size)
	}
}
