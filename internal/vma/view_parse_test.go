package vma

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"pgregory.net/rapid"
)

// seenSlot is a used slot of an extent.
type seenSlot struct {
	drive   uint8
	cluster uint32
	mask    uint16
}

// parseExtents reads the extents of an archive whose header has so many bytes:
// their slots, and the stored blocks in their order.
func parseExtents(r io.Reader, header int64, uuid [16]byte) (extents [][]seenSlot, blocks [][]byte, err error) {
	if _, err := io.CopyN(io.Discard, r, header); err != nil {
		return nil, nil, err
	}
	var h [extentHeaderSize]byte
	for number := 0; ; number++ {
		if _, err := io.ReadFull(r, h[:]); err == io.EOF {
			return extents, blocks, nil
		} else if err != nil {
			return nil, nil, err
		}
		slots, stored, err := parseExtent(h, uuid)
		if err != nil {
			return nil, nil, fmt.Errorf("extent %d: %w", number, err)
		}
		extents = append(extents, slots)
		for range stored {
			b := make([]byte, blockSize)
			if _, err := io.ReadFull(r, b); err != nil {
				return nil, nil, err
			}
			blocks = append(blocks, b)
		}
	}
}

func parseExtent(h [extentHeaderSize]byte, uuid [16]byte) (slots []seenSlot, stored int, err error) {
	sum := [16]byte(h[24:])
	clear(h[24:40])
	if string(h[:6]) != "VMAE\x00\x00" || !bytes.Equal(h[8:24], uuid[:]) || md5.Sum(h[:]) != sum {
		return nil, 0, fmt.Errorf("wrong magic, UUID or md5")
	}
	for i := range extentSlots {
		info := h[40+8*i:]
		s := seenSlot{info[3], binary.BigEndian.Uint32(info[4:]), binary.BigEndian.Uint16(info)}
		if s.drive == 0 && binary.BigEndian.Uint64(info) == 0 {
			continue
		}
		if s.drive == 0 || info[2] != 0 || len(slots) < i {
			return nil, 0, fmt.Errorf("slot %d: % x", i, info[:8])
		}
		slots = append(slots, s)
		stored += bits.OnesCount16(s.mask)
	}
	if n := int(binary.BigEndian.Uint16(h[6:])); n != stored {
		return nil, 0, fmt.Errorf("block count %d, %d in the masks", n, stored)
	}
	return slots, stored, nil
}

// checkShape holds an archive against its disks: each cluster once, drive after
// drive in order, 58 to an extent, and exactly the grains that hold data.
func checkShape(t rapid.TB, r io.Reader, h *Header, disks []*disk) {
	t.Helper()
	header, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	extents, blocks, err := parseExtents(r, int64(len(header)), h.UUID)
	if err != nil {
		t.Fatal(err)
	}
	var want []seenSlot
	for i, d := range disks {
		for c := range divideUp(d.size, clusterSize) {
			s := seenSlot{drive: h.Drives[i].ID, cluster: uint32(c)}
			for j := range int64(blocksPerCluster) {
				grain := d.grains[c*blocksPerCluster+j]
				if grain == nil {
					continue
				}
				s.mask |= 1 << j
				if len(blocks) == 0 || !bytes.Equal(blocks[0][:len(grain)], grain) || bytes.Trim(blocks[0][len(grain):], "\x00") != nil {
					t.Fatalf("drive %d: block %d of cluster %d has another content", s.drive, j, c)
				}
				blocks = blocks[1:]
			}
			want = append(want, s)
		}
	}
	if len(blocks) > 0 {
		t.Fatalf("%d blocks more than hold data", len(blocks))
	}
	if len(extents) != max(1, (len(want)+57)/58) {
		t.Fatalf("%d extents for %d clusters", len(extents), len(want))
	}
	for i, e := range extents {
		mine := want[min(len(want), 58*i):min(len(want), 58*(i+1))]
		if fmt.Sprint(e) != fmt.Sprint(mine) {
			t.Fatalf("extent %d holds %v, not %v", i, e, mine)
		}
	}
}
