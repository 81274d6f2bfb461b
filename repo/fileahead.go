package repo

import (
	"context"

	"vaultfs/repo/format"
)

// aheadFileChunks bounds the chunks of one file that are read ahead at a time:
// 3 MiB on average, 32 MiB at most.
const aheadFileChunks = 8

// Prefetch asks for the chunks of a range to be decoded into the cache in the
// background, and returns at once. What cannot be begun now is left out.
func (f *File) Prefetch(off, n int64) {
	end := min(off+n, f.size)
	if f.starts == nil {
		f.prefetchStored(off, end)
		return
	}
	for i := f.rangeAt(off); i < len(f.ranges) && f.ranges[i].Off < end; i++ {
		x := f.ranges[i]
		from, to := max(off, x.Off)-x.Off, min(end, x.Off+x.Len)-x.Off
		if !f.prefetchStored(f.starts[i]+from, f.starts[i]+to) {
			return
		}
	}
}

// prefetchStored is Prefetch of what is stored. It tells whether more can be
// begun.
func (f *File) prefetchStored(from, to int64) (more bool) {
	switch {
	case from >= to:
		return true
	case f.kind == format.ChunkContent:
		return f.prefetchChunk(format.StreamEntry{Len: f.stored, ID: f.id})
	}
	root, err := f.repo.node(context.Background(), f.id, -1, f.stored)
	return err == nil && f.prefetchNode(root, from, to)
}

func (f *File) prefetchNode(n *format.StreamNode, from, to int64) (more bool) {
	at := int64(0) // of the entry
	for _, e := range n.Entries {
		begin, end := max(from-at, 0), min(to-at, e.Len)
		at += e.Len
		if begin >= end {
			continue
		}
		if n.Level == 0 {
			more = f.prefetchChunk(e)
		} else if child, err := f.repo.node(context.Background(), e.ID, n.Level-1, e.Len); err == nil {
			more = f.prefetchNode(child, begin, end)
		}
		if !more {
			return false // an error is told to who reads
		}
	}
	return true
}

func (f *File) prefetchChunk(e format.StreamEntry) (more bool) {
	if f.repo.chunks.holds(e.ID) {
		return true
	}
	select {
	case f.ahead <- struct{}{}:
		go func() {
			defer func() { <-f.ahead }()
			f.repo.bring(dataChunk{e.ID, e.Len})
		}()
		return true
	default:
		return false
	}
}
