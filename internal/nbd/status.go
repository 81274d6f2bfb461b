package nbd

import (
	"context"
	"fmt"
	"slices"
)

// ContextAllocation tells where an export is allocated; its flags are AllocationHole and AllocationZero.
const ContextAllocation = "base:allocation"

// ContextDirtyBitmap, followed by a bitmap's name, is QEMU's context for it; its flag is BitmapDirty.
const ContextDirtyBitmap = "qemu:dirty-bitmap:"

// Flags of extents.
const (
	AllocationHole = 1 << 0 // nothing is allocated
	AllocationZero = 1 << 1 // reads as zeros
	BitmapDirty    = 1 << 0 // written to since the bitmap was made
)

// Extent is a run of bytes of the export that has the same flags in one context.
type Extent struct {
	Offset, Length int64
	Flags          uint32 // their meaning is the context's
}

// maxExtents bounds what one call gathers: 96 MiB of extents.
const maxExtents = 4 << 20

// BlockStatus gives the extents of a context that cover [off, off+length) exactly, in order, neighbours with equal
// flags merged. A range with more than 4 Mi extents is an error: ask for it in parts.
func (c *Client) BlockStatus(ctx context.Context, context string, off, length int64) ([]Extent, error) {
	extents, err := c.blockStatus(ctx, context, off, length)
	if err != nil {
		return nil, fmt.Errorf("%s: block status %q of %d bytes at %d: %w", c.name, context, length, off, err)
	}
	return extents, nil
}

func (c *Client) blockStatus(ctx context.Context, context string, off, length int64) ([]Extent, error) {
	if err := c.checkRange(off, length); err != nil {
		return nil, err
	}
	var extents []Extent
	for at, end := off, off+length; at < end; {
		got, err := c.statusFrom(ctx, context, at, end, 0)
		if err != nil {
			return nil, err
		}
		if len(extents)+len(got) > maxExtents {
			return nil, fmt.Errorf("more than %d extents", maxExtents)
		}
		for _, e := range got {
			extents = appendExtent(extents, e)
			at = e.Offset + e.Length
		}
	}
	return extents, nil
}

// FirstExtent gives only the extent that starts at off and reaches no further than off+length, which must be more
// than off. Servers stop looking after it: it is the cheap question where BlockStatus would be long.
func (c *Client) FirstExtent(ctx context.Context, context string, off, length int64) (Extent, error) {
	err := c.checkRange(off, length)
	if err == nil && length == 0 {
		err = fmt.Errorf("empty range")
	}
	var got []Extent
	if err == nil {
		got, err = c.statusFrom(ctx, context, off, off+length, cmdFlagReqOne)
	}
	if err != nil {
		return Extent{}, fmt.Errorf("%s: extent of %q at %d: %w", c.name, context, off, err)
	}
	return got[0], nil
}

// statusFrom asks once; the answer holds at least one extent, starts at off and ends at end at the latest. The
// request is widened to the server's blocks and the answer clipped.
func (c *Client) statusFrom(ctx context.Context, context string, off, end int64, flags uint16) ([]Extent, error) {
	index := slices.IndexFunc(c.contexts, func(m metaContext) bool { return m.name == context })
	if index < 0 {
		return nil, fmt.Errorf("context was not granted by the server")
	}
	block := int64(c.export.minBlock)
	start := off - off%block
	length := min(end-start+block-1, maxStatus)
	length -= length % block
	r := &request{command: cmdBlockStatus, flags: flags, offset: uint64(start), length: uint32(length), context: index}
	if err := c.do(ctx, r); err != nil {
		return nil, err
	}
	extents := clip(r.extents, off, end)
	if len(extents) == 0 {
		return nil, protocolError("no extent at %d", off)
	}
	return extents, nil
}

// clip cuts sorted extents to [start, end), in place.
func clip(extents []Extent, start, end int64) []Extent {
	kept := extents[:0]
	for _, e := range extents {
		from, to := max(e.Offset, start), min(e.Offset+e.Length, end)
		if from < to {
			kept = append(kept, Extent{from, to - from, e.Flags})
		}
	}
	return kept
}

// appendExtent adds an extent that starts where the last one ends, merging them if their flags are equal.
func appendExtent(extents []Extent, e Extent) []Extent {
	if n := len(extents); n > 0 && extents[n-1].Flags == e.Flags {
		extents[n-1].Length += e.Length
		return extents
	}
	return append(extents, e)
}

// Data gives the runs of [off, off+length) that must be read, in order and merged; what lies between them is zeros.
// Only ZERO lets a run be left out: a mere HOLE has undefined content, which is to be backed up as it reads. Without
// base:allocation everything is data. The extents' flags are 0.
func (c *Client) Data(ctx context.Context, off, length int64) ([]Extent, error) {
	if !slices.Contains(c.Contexts(), ContextAllocation) {
		if err := c.checkRange(off, length); err != nil {
			return nil, fmt.Errorf("%s: data of %d bytes at %d: %w", c.name, length, off, err)
		}
		return clip([]Extent{{off, length, 0}}, off, off+length), nil
	}
	extents, err := c.BlockStatus(ctx, ContextAllocation, off, length)
	if err != nil {
		return nil, err
	}
	data := extents[:0]
	for _, e := range extents {
		if e.Flags&AllocationZero != 0 {
			continue
		}
		if n := len(data); n > 0 && data[n-1].Offset+data[n-1].Length == e.Offset {
			data[n-1].Length += e.Length
			continue
		}
		data = append(data, Extent{e.Offset, e.Length, 0})
	}
	return data, nil
}
