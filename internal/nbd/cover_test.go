package nbd

import (
	"math/rand/v2"
	"testing"
)

// TestCoverAgreesWithBitmap adds random runs to a cover and to a plain bitmap.
func TestCoverAgreesWithBitmap(t *testing.T) {
	const length = 48
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var c cover
		var filled [length]bool
		for n := 0; ; n++ {
			start := rng.Uint32N(length)
			end := start + 1 + rng.Uint32N(min(8, length-start))
			overlap, count := false, 0
			for i := range filled {
				overlap = overlap || filled[i] && uint32(i) >= start && uint32(i) < end
			}
			if err := c.add(start, end); (err != nil) != overlap {
				t.Fatalf("add [%d,%d) to %v: %v, overlap %v", start, end, c.runs, err, overlap)
			}
			if overlap {
				break
			}
			for i := start; i < end; i++ {
				filled[i] = true
			}
			gap := uint32(length)
			for i := range filled {
				if filled[i] {
					count++
				} else if gap == length {
					gap = uint32(i)
				}
			}
			if c.whole(length) != (count == length) || c.gap() != gap {
				t.Fatalf("%v: whole %v, gap %d, want %d filled and gap %d", c.runs, c.whole(length), c.gap(), count, gap)
			}
			for i := 1; i < len(c.runs); i++ {
				if c.runs[i-1].end >= c.runs[i].start {
					t.Fatalf("runs touch: %v", c.runs)
				}
			}
		}
	}
}

func TestCoverBoundsItsMemory(t *testing.T) {
	var c cover
	var err error
	for i := uint32(0); err == nil && i < 2*maxGaps; i++ {
		err = c.add(2*i, 2*i+1)
	}
	if err == nil || len(c.runs) > maxGaps {
		t.Fatalf("%d runs kept, error %v", len(c.runs), err)
	}
}
