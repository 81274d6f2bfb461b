package ingest

import (
	"context"
	"math/rand/v2"

	"vaultfs/chunk"
)

// draws is how many pieces of a common length are drawn for a budget, over and
// above those that it pays for: some places turn out to be dirty or empty.
const (
	draws       = 2
	commonPiece = 128 << 10
)

// budget compares pieces in random segments.
func (a *audit) budget(ctx context.Context, left int64) error {
	if left < chunk.Grain || a.base.Size() == 0 {
		return nil
	}
	buf := make([]byte, chunk.DiskMax)
	for _, segment := range a.draw(int(draws * (left + commonPiece - 1) / commonPiece)) {
		off := segment * a.base.SegmentSize()
		dirty, data, err := a.ask(ctx, off, min(a.base.SegmentSize(), a.img.Size()-off))
		if err != nil {
			return err
		}
		all, err := a.pieces(segment, dirty, data)
		if err != nil {
			return err
		}
		c := pick(all)
		if c.n == 0 || c.n > left {
			continue
		}
		if err := a.compare(ctx, c, buf); err != nil {
			return err
		}
		if left -= c.n; left < chunk.DiskMin {
			return nil
		}
	}
	return nil
}

// draw returns n segments in random order, some perhaps twice. Half of them are
// spread evenly over the disk: what was written to a place that was empty is as
// likely to be found. The other half are spread evenly over what base holds.
func (a *audit) draw(n int) (segments []int64) {
	count, held := int64(a.base.Segments()), int64(0)
	for i := range count {
		held += int64(a.base.Clusters(int(i)))
	}
	half := (n + 1) / 2
	for i := range half {
		segments = append(segments, place(i, half, count))
	}
	segment, passed := int64(-1), int64(0)
	for i := 0; i < half && held > 0; i++ {
		for at := place(i, half, held); passed <= at; {
			segment++
			passed += int64(a.base.Clusters(int(segment)))
		}
		segments = append(segments, segment)
	}
	rand.Shuffle(len(segments), func(i, k int) { segments[i], segments[k] = segments[k], segments[i] })
	return segments
}

// place draws a number in part i of parts equal parts of [0, total).
func place(i, parts int, total int64) int64 {
	return min(int64((float64(i)+rand.Float64())/float64(parts)*float64(total)), total-1)
}

// pick draws one of the pieces; a byte of each is as likely as any other.
func pick(all []piece) piece {
	total := int64(0)
	for _, c := range all {
		total += c.n
	}
	if total == 0 {
		return piece{}
	}
	at := rand.Int64N(total)
	for _, c := range all {
		if at -= c.n; at < 0 {
			return c
		}
	}
	return piece{}
}
