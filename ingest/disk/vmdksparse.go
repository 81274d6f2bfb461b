package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// vmdkSparse is what matters here of the header of a sparse extent, which is
// little-endian and counts in sectors: magic 4, version 4, flags 4, capacity 8,
// grain size 8, descriptor's offset 8 and size 8, entries of a grain table 4,
// offset of the second grain directory 8 and of the first 8. An entry of the
// directory is the sector of a grain table, an entry of that the sector of a
// grain; both have 4 bytes.
type vmdkSparse struct {
	cow                              bool // of the older kind, which has another header and no descriptor
	flags                            uint32
	capacity, grain                  uint64
	descriptorOffset, descriptorSize uint64
	perTable, directory              uint64
}

const (
	vmdkZeroedGrain = 1 << 2 // flag: a grain at sector 1 is zeros
	vmdkCompressed  = 1 << 16
	vmdkAtEnd       = 1<<64 - 1 // the directory's offset stands in a footer

	vmdkHeader    = 64             // bytes that are read of one
	vmdkFooter    = 2 * vmdkSector // from the end of the file, where a copy of the header lies
	vmdkMostGrain = 2 << 20        // sectors
	vmdkMostTable = 512            // entries
	vmdkSector    = 512
)

// readVMDKSparse returns nil for what is not a sparse extent.
func readVMDKSparse(r io.ReaderAt) (*vmdkSparse, error) { return readVMDKSparseAt(r, 0) }

func readVMDKSparseAt(r io.ReaderAt, off int64) (*vmdkSparse, error) {
	var p [vmdkHeader]byte
	n, err := r.ReadAt(p[:], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot be read (%w)", err)
	}
	switch {
	case n >= 4 && string(p[:4]) == vmdkCOWMagic:
		return &vmdkSparse{cow: true}, nil
	case n < len(p) || string(p[:4]) != vmdkSparseMagic:
		return nil, nil
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	return &vmdkSparse{
		flags: u32(p[8:]), capacity: u64(p[12:]), grain: u64(p[20:]),
		descriptorOffset: u64(p[28:]), descriptorSize: u64(p[36:]),
		perTable: uint64(u32(p[44:])), directory: u64(p[56:]),
	}, nil
}

// checkSparse refuses a sparse extent of no capacity, which QEMU takes for a
// descriptor of more extents, and one of which a table or a grain lies behind
// the end of its file, which has size bytes.
func checkSparse(r io.ReaderAt, size uint64) error {
	h, err := readVMDKSparse(r)
	switch {
	case err != nil:
		return err
	case h == nil, h.capacity == 0 && !h.cow:
		return errors.New("is no sparse extent")
	case h.cow:
		return nil
	}
	if h.directory == vmdkAtEnd {
		if size < vmdkFooter {
			return errors.New("is no sparse extent")
		}
		if h, err = readVMDKSparseAt(r, int64(size)-vmdkFooter); err != nil {
			return err
		}
		if h == nil || h.cow || h.directory == vmdkAtEnd {
			return fmt.Errorf("is cut off: its file has %d bytes, and does not end with a footer: is the copy complete?", size)
		}
	}
	return h.checkGrains(r, size)
}

func (h *vmdkSparse) checkGrains(r io.ReaderAt, size uint64) error {
	const most = 1 << 54 // sectors, as many as have an offset
	if h.capacity > most || h.directory > most || h.grain == 0 || h.grain > vmdkMostGrain || h.perTable == 0 || h.perTable > vmdkMostTable {
		return fmt.Errorf("is damaged (grains of %d sectors, %d to a table)", h.grain, h.perTable)
	}
	tables := pieces(h.capacity, h.grain*h.perTable)
	return eachEntry(r, size, h.directory*vmdkSector, tables, 4, func(i uint64, entry []byte) error {
		table := uint64(binary.LittleEndian.Uint32(entry))
		if table == 0 {
			return nil
		}
		return eachEntry(r, size, table*vmdkSector, h.perTable, 4, func(j uint64, entry []byte) error {
			at := (i*h.perTable + j) * h.grain
			if at >= h.capacity {
				return nil
			}
			if end := h.grainEnd(binary.LittleEndian.Uint32(entry), h.capacity-at); end > size {
				return cutOff("file", size, end)
			}
			return nil
		})
	})
}

// grainEnd is where the data ends of a grain at a sector, after which the guest
// has n sectors; 0 if it has none. Of a compressed one it is the end of the first
// sector, as its length is not known here.
func (h *vmdkSparse) grainEnd(sector uint32, n uint64) uint64 {
	switch {
	case sector == 0, sector == 1 && h.flags&vmdkZeroedGrain != 0:
		return 0
	case h.flags&vmdkCompressed != 0:
		n = 1
	}
	return (uint64(sector) + min(n, h.grain)) * vmdkSector
}
