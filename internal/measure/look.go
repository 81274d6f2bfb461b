package measure

import (
	"context"
	"encoding/binary"

	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo"
	"vaultfs/repo/format"
)

// A disk is read in stretches: as long as the longest fixed piece, and aligned
// to it. Before a stretch in memory is the end of the one before, as long as the
// longest chunk, in which chunks may have begun.
const (
	stretch = 4 << 20
	carry   = 1 << 20

	carryGrains = carry / chunk.Grain
)

// A looker is one worker of a survey: it cuts whole segments under all schemes.
type looker struct {
	survey *Survey
	img    ingest.Image
	disk   int
	p      *ingest.Progress

	buf     []byte   // carry, then a stretch
	sums    []uint64 // of its grains
	open    []int    // by scheme: the grain of buf that begins what is not cut yet
	payload []byte

	read, zeros int64 // bytes
}

func newLooker(s *Survey, img ingest.Image, disk int, p *ingest.Progress) *looker {
	return &looker{survey: s, img: img, disk: disk, p: p, buf: make([]byte, carry+stretch),
		sums: make([]uint64, (carry+stretch)/chunk.Grain), open: make([]int, len(schemes))}
}

// segment looks at the segment that begins at start.
func (l *looker) segment(ctx context.Context, start int64) error {
	l.begin()
	end := min(start+repo.SegmentSize, l.img.Size())
	runs, err := l.img.Data(ctx, start, end-start)
	if err != nil {
		return err
	}
	for off := start; off < end; off += stretch {
		n := min(stretch, end-off)
		read, err := l.fill(ctx, runs, off, n)
		if err != nil {
			return err
		}
		if read == 0 {
			l.end()
			l.begin()
			continue
		}
		l.look(int((n+chunk.Grain-1)/chunk.Grain), read)
	}
	l.end()
	return nil
}

// fill reads the data of a stretch; holes are zeros.
func (l *looker) fill(ctx context.Context, runs []ingest.Run, off, n int64) (read int64, err error) {
	into := l.buf[carry:]
	done := int64(0)
	for _, r := range runs {
		from, to := max(r.Off, off)-off, min(r.Off+r.Len, off+n)-off
		if from >= to {
			continue
		}
		clear(into[done:from])
		if err := l.img.ReadAt(ctx, into[from:to], off+from); err != nil {
			return read, err
		}
		read, done = read+to-from, to
	}
	if read > 0 {
		clear(into[done:])
	}
	return read, nil
}

// begin forgets what was before.
func (l *looker) begin() {
	for i := range l.open {
		l.open[i] = carryGrains
	}
}

// look cuts a stretch of so many grains.
func (l *looker) look(grains int, read int64) {
	zeros := sums(l.survey.seed, l.sums[carryGrains:carryGrains+grains], l.buf[carry:carry+grains*chunk.Grain])
	holes := int64(grains)*chunk.Grain - read // are zeros that were not read
	l.read, l.zeros = l.read+read, l.zeros+max(0, zeros*chunk.Grain-holes)
	l.cut(carryGrains+grains, false)
	for i, s := range schemes {
		if !s.Aligned {
			l.pieces(i, int(s.Size/chunk.Grain), carryGrains+grains)
		}
	}
	copy(l.buf, l.buf[grains*chunk.Grain:(grains+carryGrains)*chunk.Grain])
	copy(l.sums, l.sums[grains:grains+carryGrains])
	for i := range l.open {
		l.open[i] -= grains
	}
	l.p.Read.Add(read)
	l.p.Done.Add(read)
}

// end cuts what is left before a hole or the end of a segment.
func (l *looker) end() { l.cut(carryGrains, true) }

// cut cuts up to a grain of buf under the schemes that are aligned.
func (l *looker) cut(end int, last bool) {
	for i, s := range schemes {
		if !s.Aligned {
			continue
		}
		for l.open[i] < end {
			zeros, n := l.next(i, s, end, last)
			l.open[i] += zeros
			if n == 0 {
				break
			}
			l.chunk(i, l.open[i], l.open[i]+n, n)
			l.open[i] += n
		}
	}
}

func (l *looker) next(i int, s Scheme, end int, last bool) (zeros, n int) {
	if s != Own {
		return cutterFor(s.Size).next(l.sums[l.open[i]:end], last)
	}
	zeros, n = l.survey.cutter.Next(l.buf[l.open[i]*chunk.Grain:end*chunk.Grain], last)
	return zeros / chunk.Grain, n / chunk.Grain
}

// pieces takes the fixed pieces of a stretch that hold something. What of a piece
// is zeros does not count as its data, as with the other ways to cut.
func (l *looker) pieces(i, grains, end int) {
	for from := carryGrains; from < end; from += grains {
		to, used := min(from+grains, end), 0
		for _, sum := range l.sums[from:to] {
			if sum != 0 {
				used++
			}
		}
		if used > 0 {
			l.chunk(i, from, to, used)
		}
	}
}

// chunk takes a chunk in: the grains [from, to) of buf, of which so many are not
// zero.
func (l *looker) chunk(i, from, to, used int) {
	plain, k := l.buf[from*chunk.Grain:to*chunk.Grain], l.survey.sketches[i]
	f := fingerprint(l.sums[from:to])
	if i == 0 {
		id := l.survey.namer.Name(plain)
		f = binary.LittleEndian.Uint64(id[:])
	}
	if k.see(f, used*chunk.Grain, l.disk) {
		l.payload = format.Payload(l.payload[:0], plain)
		k.pack(f, len(l.payload)+perChunk)
	}
}
