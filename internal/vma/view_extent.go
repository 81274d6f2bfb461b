package vma

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// A viewExtent is an extent as far as it is needed to read it.
type viewExtent struct {
	start  int64 // offset in the file
	blocks int64
	slots  [viewSlots]viewSlot
	used   int
}

// A viewSlot is a cluster of an extent.
type viewSlot struct {
	drive   *viewDrive
	cluster int64 // in the drive
	mask    uint16
}

// lay lays out the extent of a number, whose offset is known.
func (v *View) lay(e *viewExtent, number, start int64) error {
	e.start, e.blocks, e.used = start, 0, 0
	first := number * viewSlots
	for end := min(first+viewSlots, v.clusters); first < end; {
		d := v.driveOf(first)
		cluster := first - d.first
		s := cluster / d.perSegment
		bitmap, err := d.bitmap(s)
		if err != nil {
			return err
		}
		n := min(end-first, d.clusters-cluster, (s+1)*d.perSegment-cluster)
		for c := cluster; c < cluster+n; c++ {
			m := mask(bitmap, c-s*d.perSegment)
			e.slots[e.used] = viewSlot{d, c, m}
			e.used++
			e.blocks += int64(bits.OnesCount16(m))
		}
		first += n
	}
	return nil
}

func (e *viewExtent) end() int64 { return e.start + extentHeaderSize + e.blocks*blockSize }

// header encodes the extent's header.
func (e *viewExtent) header(uuid [16]byte) (h [extentHeaderSize]byte) {
	be := binary.BigEndian
	copy(h[0:], extentMagic)
	be.PutUint16(h[atBlockCount:], uint16(e.blocks))
	copy(h[atExtentUUID:], uuid[:])
	for i, s := range e.slots[:e.used] {
		info := h[atSlots+slotSize*i:]
		be.PutUint16(info[0:], s.mask)
		info[atSlotDrive] = s.drive.ID
		be.PutUint32(info[atSlotCluster:], uint32(s.cluster))
	}
	sum := md5.Sum(h[:])
	copy(h[atExtentSum:], sum[:])
	return h
}

// readData reads the extent's data from byte pos of them on, to the end of p or
// of the extent. Blocks that are neighbours on the drive too are one read of it.
func (e *viewExtent) readData(p []byte, pos int64) (int, error) {
	n, slot, skipped := 0, 0, pos/blockSize
	for ; slot < e.used; slot++ { // find the slot of the first block
		in := int64(bits.OnesCount16(e.slots[slot].mask))
		if skipped < in {
			break
		}
		skipped -= in
	}
	skip := pos % blockSize
	for n < len(p) && slot < e.used {
		d := e.slots[slot].drive
		block, length, next := e.run(slot, int(skipped), divideUp(skip+int64(len(p)-n), blockSize))
		part := p[n:min(int64(len(p)), int64(n)+length*blockSize-skip)]
		m, err := d.read(part, block*blockSize+skip)
		n += m
		if err != nil {
			return n, err
		}
		slot, skipped, skip = next.slot, int64(next.block), 0
	}
	return n, nil
}

// A blockPlace is a stored block: how many of its slot's stored blocks are
// before it.
type blockPlace struct{ slot, block int }

// run finds a stored block's number on its drive, how many stored blocks follow
// one another there from it on, up to limit, and which stored block comes next.
func (e *viewExtent) run(slot, nth int, limit int64) (block, length int64, next blockPlace) {
	s := e.slots[slot]
	bit := nthOne(s.mask, nth)
	block = s.cluster*blocksPerCluster + int64(bit)
	for {
		// ^x has a bit past the sixteen, so a run ends with the cluster.
		n := bits.TrailingZeros32(^(uint32(s.mask) >> bit))
		length, nth = length+int64(n), nth+n
		if length >= limit || bit+n < blocksPerCluster || slot+1 == e.used {
			break
		}
		after := e.slots[slot+1]
		if after.drive != s.drive || after.mask&1 == 0 {
			break
		}
		slot, nth, bit, s = slot+1, 0, 0, after
	}
	next = blockPlace{slot, nth}
	for next.slot < e.used && next.block == bits.OnesCount16(e.slots[next.slot].mask) {
		next = blockPlace{next.slot + 1, 0}
	}
	return block, length, next
}

// nthOne finds the set bit that has n set bits below it. There must be one.
func nthOne(mask uint16, n int) int {
	for ; n > 0; n-- {
		mask &= mask - 1
	}
	return bits.TrailingZeros16(mask)
}

// read reads bytes of the drive. Past its end, where its last block is partial,
// they are zeros.
func (d *viewDrive) read(p []byte, off int64) (int, error) {
	inside := p[:min(int64(len(p)), max(d.Size-off, 0))]
	n, err := d.src.ReadAt(inside, off)
	if n < len(inside) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("%v ends at %d of %d bytes: %w", d, off+int64(n), d.Size, io.ErrUnexpectedEOF)
		}
		return n, err
	}
	clear(p[len(inside):])
	return len(p), nil
}
