package vma

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A slot is what the header of an extent says of one cluster.
type slot struct {
	drive   uint8  // 0 for a slot that is not used
	cluster uint32 // of the drive
	mask    uint16 // bit j is set if block j is stored; else it is zeros
}

// decodeExtent reads and checks the header of an extent as far as that can be
// done without knowing the drives.
func decodeExtent(b []byte, uuid [16]byte) (slots [extentSlots]slot, err error) {
	be := binary.BigEndian
	if string(b[:len(extentMagic)]) != extentMagic {
		return slots, fmt.Errorf("it begins with the bytes % x where an extent has % x: damage before it, or bytes that do not belong to the archive", b[:4], extentMagic)
	}
	if err := checkSum(b, atExtentSum); err != nil {
		return slots, fmt.Errorf("its header is damaged: %w", err)
	}
	if r := be.Uint16(b[atExtentReserved:]); r != 0 {
		return slots, fmt.Errorf("bytes %d and %d of it are %#04x where they must be 0", atExtentReserved, atExtentReserved+1, r)
	}
	if got := [16]byte(b[atExtentUUID:]); got != uuid {
		return slots, fmt.Errorf("it belongs to another archive: its UUID is %x, the archive's is %x", got, uuid)
	}
	stored := 0
	for i := range slots {
		p := b[atSlots+slotSize*i:]
		s := slot{p[atSlotDrive], be.Uint32(p[atSlotCluster:]), be.Uint16(p)}
		if s.drive == 0 {
			continue
		}
		slots[i], stored = s, stored+bits.OnesCount16(s.mask)
	}
	switch count := int(be.Uint16(b[atBlockCount:])); {
	case count > maxExtentBlocks:
		return slots, fmt.Errorf("it says that it has %d blocks: an extent has at most %d", count, maxExtentBlocks)
	case count != stored:
		return slots, fmt.Errorf("it says that it has %d blocks, its masks say %d", count, stored)
	}
	return slots, nil
}
