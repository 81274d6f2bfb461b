package ingest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// A RunsFunc returns runs of [off, off+n) of a disk, in bytes. It is called by
// several goroutines at once.
type RunsFunc func(ctx context.Context, off, n int64) ([]Run, error)

// ask returns the runs of [off, off+n) as tidy leaves them.
func ask(ctx context.Context, f RunsFunc, off, n int64) ([]Run, error) {
	runs, err := f(ctx, off, n)
	if err != nil {
		return nil, err
	}
	return tidy(runs, off, n)
}

// tidy returns what of runs lies in [off, off+n): sorted, without overlap,
// neighbours joined. Whoever gave the runs may have got all of this wrong; a
// run that is no range of bytes is an error.
func tidy(runs []Run, off, n int64) ([]Run, error) {
	var kept []Run
	for _, r := range runs {
		if r.Off < 0 || r.Len < 0 || r.Len > math.MaxInt64-r.Off {
			return nil, fmt.Errorf("a run of %d bytes at %d is none", r.Len, r.Off)
		}
		from, to := max(r.Off, off), min(r.Off+r.Len, off+n)
		if from < to {
			kept = append(kept, Run{from, to - from})
		}
	}
	slices.SortFunc(kept, func(a, b Run) int { return int(min(max(a.Off-b.Off, -1), 1)) })
	joined := kept[:0]
	for _, r := range kept {
		joined = appendRun(joined, r)
	}
	return joined, nil
}

// appendRun adds a run that begins no earlier than the last one, and joins the
// two if they touch.
func appendRun(runs []Run, r Run) []Run {
	if k := len(runs) - 1; k >= 0 && r.Off <= runs[k].Off+runs[k].Len {
		runs[k].Len = max(runs[k].Len, r.Off+r.Len-runs[k].Off)
		return runs
	}
	return append(runs, r)
}

// within returns what of tidy runs lies in [off, off+n).
func within(runs []Run, off, n int64) (part []Run) {
	first := sort.Search(len(runs), func(i int) bool { return runs[i].Off+runs[i].Len > off })
	for _, r := range runs[first:] {
		from, to := max(r.Off, off), min(r.Off+r.Len, off+n)
		if from >= to {
			break
		}
		part = append(part, Run{from, to - from})
	}
	return part
}

// wholeGrains widens tidy runs to grains, relative to start, and joins what
// then touches. It does not pass the end of the last grain of the segment.
func wholeGrains(runs []Run, start, size int64) (whole []Run) {
	for _, r := range runs {
		off := (r.Off - start) / chunk.Grain * chunk.Grain
		end := min(grains(r.Off-start+r.Len), grains(size))
		if end > off {
			whole = appendRun(whole, Run{off, end - off})
		}
	}
	return whole
}

// grains rounds a number of bytes up to whole grains.
func grains(n int64) int64 { return (n + chunk.Grain - 1) / chunk.Grain * chunk.Grain }

// both returns what is in a and in b, which are tidy.
func both(a, b []Run) (c []Run) {
	for len(a) > 0 && len(b) > 0 {
		endA, endB := a[0].Off+a[0].Len, b[0].Off+b[0].Len
		if from, to := max(a[0].Off, b[0].Off), min(endA, endB); from < to {
			c = append(c, Run{from, to - from})
		}
		if endA <= endB {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return c
}

// without returns what is in a and not in b, which are tidy.
func without(a, b []Run) (c []Run) {
	for _, r := range a {
		at, end := r.Off, r.Off+r.Len
		for len(b) > 0 && b[0].Off+b[0].Len <= at {
			b = b[1:]
		}
		for _, x := range b {
			if x.Off >= end {
				break
			}
			if x.Off > at {
				c = append(c, Run{at, x.Off - at})
			}
			at = x.Off + x.Len
		}
		if at < end {
			c = append(c, Run{at, end - at})
		}
	}
	return c
}

// covered returns what the extents of a segment cover.
func covered(m repo.SegmentMap) []Run {
	runs := make([]Run, 0, len(m))
	for _, e := range m {
		runs = appendRun(runs, Run{e.Off, e.Len})
	}
	return runs
}

// length adds up runs, in bytes.
func length(runs []Run) (n int64) {
	for _, r := range runs {
		n += r.Len
	}
	return n
}
