package vma

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
)

const testSegment = 64 * mib // as in a repository

// A drive of 16 TiB is opened in a moment, takes a few megabytes, and a read at
// any place of its archive is cheap.
func TestViewOfHugeDrive(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 16))
	d := newDisk(16*tib, testSegment)
	grains := []int64{0, 1, d.grainCount() - 1}
	for range 300 {
		grains = append(grains, rng.Int64N(d.grainCount()))
	}
	for _, g := range grains {
		d.write(rng, g, 3)
	}
	before := heap()
	v := newView(t, headerOf(d), d)
	if took := heap() - before; took > 4*mib {
		t.Errorf("a view of 16 TiB takes %d bytes", took)
	}
	extents := divideUp(d.size/clusterSize, viewSlots)
	if want := int64(len(v.header)) + extents*extentHeaderSize + int64(len(d.grains))*blockSize; v.Size() != want {
		t.Fatalf("%d bytes, not %d", v.Size(), want)
	}
	p := make([]byte, extentHeaderSize+maxExtentBlocks*blockSize)
	for range 2000 {
		checkExtent(t, v, d, p, rng.Int64N(extents))
	}
	for _, g := range grains {
		checkExtent(t, v, d, p, g/blocksPerCluster/viewSlots)
	}
	checkExtent(t, v, d, p, extents-1)
}

// checkExtent reads an extent by its number and holds it against the disk.
func checkExtent(t *testing.T, v *View, d *disk, p []byte, number int64) {
	t.Helper()
	first := number * viewSlots
	before, err := v.blocksBefore(first)
	if err != nil {
		t.Fatal(err)
	}
	start := v.startOf(number, before)
	if _, err := v.ReadAt(p[:extentHeaderSize], start); err != nil {
		t.Fatal(err)
	}
	b, blocks := p[:extentHeaderSize+blockSize*int(binary.BigEndian.Uint16(p[atBlockCount:]))], int64(0)
	if _, err := v.ReadAt(b[extentHeaderSize:], start+extentHeaderSize); err != nil {
		t.Fatal(err)
	}
	if string(b[:4]) != extentMagic {
		t.Fatalf("extent %d does not begin where it should", number)
	}
	for slot := range min(viewSlots, d.size/clusterSize-first) {
		info := b[atSlots+slotSize*slot:]
		cluster := int64(binary.BigEndian.Uint32(info[atSlotCluster:]))
		if info[atSlotDrive] != 1 || cluster != first+slot {
			t.Fatalf("extent %d: slot %d is cluster %d of drive %d", number, slot, cluster, info[atSlotDrive])
		}
		for j := range int64(blocksPerCluster) {
			grain, stored := d.grains[cluster*blocksPerCluster+j], info[1-j/8]>>(j%8)&1 == 1
			if (grain != nil) != stored {
				t.Fatalf("extent %d: block %d of cluster %d stored: %v", number, j, cluster, stored)
			}
			if stored {
				at := extentHeaderSize + blocks*blockSize
				if string(b[at:at+blockSize]) != string(grain) {
					t.Fatalf("extent %d: block %d of cluster %d has another content", number, j, cluster)
				}
				blocks++
			}
		}
	}
	if int64(binary.BigEndian.Uint16(b[atBlockCount:])) != blocks {
		t.Fatalf("extent %d: %d blocks counted", number, blocks)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
