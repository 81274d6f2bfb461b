package measure

import (
	"context"

	"vaultfs/chunk"
	"vaultfs/ingest"
)

// What is read of a disk to measure rates: pieces spread evenly over its data,
// each long enough that moving to it is no cost. The beginning of each stays in
// memory for the other steps.
const (
	pieces    = 16
	pieceSize = 16 << 20
	keptSize  = 2 << 20
)

// A piece is runs of data of a disk, in order.
type piece []ingest.Run

func (p piece) bytes() (n int64) {
	for _, r := range p {
		n += r.Len
	}
	return n
}

// spread chooses the pieces of a disk that has so much data.
func spread(ctx context.Context, img ingest.Image, data int64) (list []piece, err error) {
	const step = 1 << 30
	size := min(pieceSize, max(chunk.Grain, data/pieces/chunk.Grain*chunk.Grain))
	passed, next := int64(0), int64(0) // bytes of data
	for off := int64(0); off < img.Size() && len(list) <= pieces; off += step {
		runs, err := img.Data(ctx, off, min(step, img.Size()-off))
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			for r.Len > 0 {
				if skip := min(next-passed, r.Len); skip > 0 {
					r, passed = ingest.Run{Off: r.Off + skip, Len: r.Len - skip}, passed+skip
					continue
				}
				if len(list) == 0 || list[len(list)-1].bytes() >= size {
					list = append(list, nil)
				}
				last := &list[len(list)-1]
				n := min(r.Len, size-last.bytes())
				*last = append(*last, ingest.Run{Off: r.Off, Len: n})
				r, passed = ingest.Run{Off: r.Off + n, Len: r.Len - n}, passed+n
				if last.bytes() >= size {
					next = max(passed, int64(len(list))*(data/pieces))
				}
			}
		}
	}
	return list[:min(len(list), pieces)], nil
}

// load reads the beginning of a piece, in whole grains.
func (p piece) load(ctx context.Context, img ingest.Image) ([]byte, error) {
	size := min(p.bytes(), keptSize)
	buf := make([]byte, (size+chunk.Grain-1)/chunk.Grain*chunk.Grain)
	at := int64(0)
	for _, r := range p {
		n := min(r.Len, size-at)
		if n == 0 {
			break
		}
		if err := img.ReadAt(ctx, buf[at:at+n], r.Off); err != nil {
			return nil, err
		}
		at += n
	}
	return buf, nil
}

// read reads all of a piece into buf, part by part, as an ingest does.
func (p piece) read(ctx context.Context, img ingest.Image, buf []byte) error {
	for _, r := range p {
		for off, end := r.Off, r.Off+r.Len; off < end; {
			n := min(int64(len(buf)), end-off)
			if err := img.ReadAt(ctx, buf[:n], off); err != nil {
				return err
			}
			off += n
		}
	}
	return nil
}
