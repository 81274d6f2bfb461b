package ingest

import (
	"fmt"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// A recutter cuts one segment anew where it differs from a stored one, and
// keeps the extents of the stored map elsewhere. What it makes is what cutting
// the whole segment would make. This rests on the cutter having no state after
// a chunk's end and at a zero grain: where neither the new cutting nor the
// stored one has a chunk open, both go on alike for as long as the bytes are
// the same.
//
// All offsets are bytes from the segment's start and multiples of chunk.Grain.
type recutter struct {
	cutter *chunk.Disk
	size   int64           // of the segment, in whole grains
	base   repo.SegmentMap // of the stored segment; what lies behind is dropped
	dirty  []Run           // that may differ from it, tidy; likewise
	data   []Run           // of dirty that may hold other than zeros, tidy; likewise

	// window brings data, in order.
	window func() (window, error)
	// stored reads bytes that are as they were.
	stored func(p []byte, off int64) error
	// put stores a chunk.
	put func(p []byte) (chunk.ID, error)
	// release takes a window back.
	release func(window)

	made repo.SegmentMap
	buf  []byte // room for recutBuffer bytes
	held []byte // in buf: what is not cut yet
	at   int64  // where held begins; no chunk is open there
}

// recutBuffer is the memory of a recutter in bytes: what may be held back, and
// one window.
const recutBuffer = chunk.DiskMax + windowSize

// run returns the map of the segment.
func (r *recutter) run() (repo.SegmentMap, error) {
	for r.at < r.size {
		if r.at = r.keep(); r.at == r.size {
			break
		}
		if err := r.region(); err != nil {
			return nil, err
		}
	}
	return r.made, nil
}

// keep takes over the extents up to where the next region to be cut anew
// begins, which it returns.
func (r *recutter) keep() int64 {
	r.pass(r.at)
	start := r.size
	if len(r.dirty) > 0 {
		start = r.begin(r.dirty[0].Off)
	}
	for len(r.base) > 0 && r.base[0].Off < start {
		r.made, r.base = append(r.made, r.base[0]), r.base[1:]
	}
	return start
}

// begin returns where cutting has to begin for a dirty grain at off: with the
// chunk that covers it, or that ends there with zeros behind it. Such a chunk
// may have ended only because of the zeros. One with another behind it ended
// by its own bytes.
func (r *recutter) begin(off int64) int64 {
	for i, e := range r.base {
		switch end := e.Off + e.Len; {
		case end < off:
			continue
		case end == off && i+1 < len(r.base) && r.base[i+1].Off == off:
			return off
		default:
			return min(e.Off, off)
		}
	}
	return off
}

// pass drops what ends at or before off.
func (r *recutter) pass(off int64) {
	for len(r.base) > 0 && r.base[0].Off+r.base[0].Len <= off {
		r.base = r.base[1:]
	}
	r.dirty, r.data = drop(r.dirty, off), drop(r.data, off)
}

// drop drops the runs that end at or before off.
func drop(runs []Run, off int64) []Run {
	for len(runs) > 0 && runs[0].Off+runs[0].Len <= off {
		runs = runs[1:]
	}
	return runs
}

// region cuts from r.at on, to the first place behind a dirty run where no
// chunk is open in the new cutting nor in the stored one.
func (r *recutter) region() error {
	r.held = r.buf[:0]
	for start := r.at; ; {
		next := r.at + int64(len(r.held))
		r.pass(next)
		var met bool
		var err error
		switch {
		case begun(r.data, next):
			err = r.addWindow(next)
		case begun(r.dirty, next):
			err = r.addZeros()
		case next < r.size && len(r.base) > 0 && r.base[0].Off <= next:
			if next > start && r.base[0].Off == next {
				met, err = r.meets()
			}
			if !met && err == nil {
				err = r.addStored(next)
			}
		default: // zeros follow, now as then
			met, err = true, r.cut(true)
		}
		if met || err != nil {
			return err
		}
	}
}

// begun tells whether off lies in the first of the runs, none of which ends
// before it.
func begun(runs []Run, off int64) bool { return len(runs) > 0 && runs[0].Off <= off }

// addWindow takes the window of the image that begins at off.
func (r *recutter) addWindow(off int64) error {
	w, err := r.window()
	if err != nil {
		return err
	}
	defer r.release(w)
	if end := r.data[0].Off + r.data[0].Len; w.off != off || int64(w.n) > end-off {
		return fmt.Errorf("%d bytes at %d of the segment were read, not those at %d", w.n, w.off, off)
	}
	p, err := r.room(int64(w.n))
	copy(p, w.buf[chunk.DiskMax:])
	return err
}

// addZeros goes on behind the zeros that end what is held.
func (r *recutter) addZeros() error {
	end := r.dirty[0].Off + r.dirty[0].Len
	if len(r.data) > 0 {
		end = min(end, r.data[0].Off)
	}
	err := r.cut(true)
	r.at = end
	return err
}

// meets tells, where no chunk is open in the stored cutting, whether none is in
// the new one.
func (r *recutter) meets() (bool, error) {
	err := r.cut(false)
	return len(r.held) == 0, err
}

// addStored takes the clean bytes of the stored chunk that covers off.
func (r *recutter) addStored(off int64) error {
	end := r.base[0].Off + r.base[0].Len
	if len(r.dirty) > 0 {
		end = min(end, r.dirty[0].Off)
	}
	p, err := r.room(end - off)
	if err != nil {
		return err
	}
	return r.stored(p, off)
}

// room returns the next n bytes of the buffer, which it makes part of held. If
// need be, it cuts to have room: less than chunk.DiskMax bytes are left then.
func (r *recutter) room(n int64) ([]byte, error) {
	if int64(len(r.held))+n > recutBuffer {
		if err := r.cut(false); err != nil {
			return nil, err
		}
	}
	k := int64(len(r.held))
	r.held = r.held[:k+n]
	return r.held[k:], nil
}

// cut stores the chunks of what is held, and keeps the rest, of which none is
// left if zeros or the end of the segment follow.
func (r *recutter) cut(last bool) error {
	p := r.held
	for len(p) > 0 {
		zeros, n := r.cutter.Next(p, last)
		p, r.at = p[zeros:], r.at+int64(zeros)
		if n == 0 {
			break
		}
		id, err := r.put(p[:n])
		if err != nil {
			return err
		}
		r.made = append(r.made, repo.Extent{Off: r.at, Len: int64(n), ID: id})
		p, r.at = p[n:], r.at+int64(n)
	}
	r.held = r.buf[:copy(r.buf, p)]
	return nil
}
