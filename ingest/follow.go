package ingest

import (
	"context"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// A follower cuts one segment along the map of an earlier state of it: where the
// bytes are as they were, one hash of a chunk tells so, and there is no need to
// look at its grains or to ask the index for it. What it makes is what cutting the
// segment afresh makes. This rests on the cutter having no state where no chunk is
// open: from such a place on, bytes that were one chunk are one again, unless it
// had ended because of what followed.
//
// A hash in vain is the price of a wrong guess. So it guesses only behind a chunk
// that was as before: elsewhere it cuts, and compares what comes out.
type follower struct {
	cutter *chunk.Disk
	base   repo.SegmentMap // of the earlier state; what lies behind is dropped
	inStep bool            // the last chunk was as before
	made   repo.SegmentMap

	// name is the ID of a chunk.
	name func(p []byte) chunk.ID
	// put stores a chunk of that name.
	put func(ctx context.Context, id chunk.ID, p []byte) error
	// kept counts the bytes of a chunk that the base has.
	kept func(n int64)
}

func newFollower(c *segmentCopier, base repo.SegmentMap) *follower {
	return &follower{cutter: c.cutter, base: base, inStep: true, made: make(repo.SegmentMap, 0, len(base)),
		name: c.session.Repo().Identify, put: c.lane.PutNamed, kept: c.session.Keep}
}

// next stores the chunk at the start of data, behind zeros, and returns the
// length of both: off is where data lies in the segment, and no chunk is open
// there. When the chunk is 0 bytes, more of the segment is needed, which is never
// so if last is set: nothing or zeros follow data.
func (f *follower) next(ctx context.Context, data []byte, off int64, last bool) (zeros, n int, err error) {
	zeros = chunk.Zeros(data)
	data, off = data[zeros:], off+int64(zeros)
	if len(data) == 0 {
		return zeros, 0, nil
	}
	was := f.at(off)
	var id chunk.ID // of the first was.Len bytes, if it is set
	if f.inStep && was.Len > 0 {
		if !last && f.needsMore(was, len(data)) {
			return zeros, 0, nil
		}
		if was.Len <= int64(len(data)) {
			if id = f.name(data[:was.Len]); id == was.ID && f.ended(was, data, last) {
				f.keep(was)
				return zeros, int(was.Len), nil
			}
		}
		f.inStep = false
	}
	_, n = f.cutter.Next(data, last)
	if n == 0 {
		return zeros, 0, nil
	}
	if int64(n) != was.Len || id.IsZero() {
		id = f.name(data[:n])
	}
	e := repo.Extent{Off: off, Len: int64(n), ID: id}
	if e == was {
		f.keep(e)
		return zeros, n, nil
	}
	f.made = append(f.made, e)
	return zeros, n, f.put(ctx, id, data[:n])
}

// at is the extent of the earlier state that begins at off; an empty one if there
// is none.
func (f *follower) at(off int64) repo.Extent {
	for len(f.base) > 0 && f.base[0].Off < off {
		f.base = f.base[1:]
	}
	if len(f.base) == 0 || f.base[0].Off != off || f.base[0].Len > chunk.DiskMax {
		return repo.Extent{}
	}
	return f.base[0]
}

// keep takes over an extent: the base has it, so it is stored.
func (f *follower) keep(e repo.Extent) {
	f.made, f.inStep = append(f.made, e), true
	f.kept(e.Len)
}

// needsMore tells whether n bytes are too few to tell whether the first extent of
// the base is a chunk again.
func (f *follower) needsMore(was repo.Extent, n int) bool {
	return was.Len > int64(n) || was.Len == int64(n) && !f.closed(was)
}

// closed tells whether the first extent of the base ended by its own bytes: it is
// as long as may be, or another one lies right behind it.
func (f *follower) closed(was repo.Extent) bool {
	return was.Len == chunk.DiskMax || len(f.base) > 1 && f.base[1].Off == was.Off+was.Len
}

// ended tells whether bytes that were the first extent of the base are a chunk
// again.
func (f *follower) ended(was repo.Extent, data []byte, last bool) bool {
	if f.closed(was) {
		return true
	}
	rest := data[was.Len:]
	if len(rest) == 0 {
		return last
	}
	return chunk.Zeros(rest[:chunk.Grain]) > 0 || f.cutter.Ends(data[:was.Len])
}
