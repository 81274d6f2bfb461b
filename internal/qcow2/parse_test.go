package qcow2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// image is a qcow2 file as the specification reads it. It shares nothing with
// the code under test, so its numbers are written out.
type image struct {
	r             io.ReaderAt
	fileSize      int64
	size          int64 // guest bytes
	l1            []uint64
	refcountTable []uint64
	headerTables  []int64 // host clusters of the header, refcount table, refcount blocks and L1
}

// parseHeader reads the header and the two top-level tables, strictly.
func parseHeader(r io.ReaderAt, fileSize int64) (*image, error) {
	h := make([]byte, 65536)
	if _, err := r.ReadAt(h, 0); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	u32 := func(at int) int64 { return int64(binary.BigEndian.Uint32(h[at:])) }
	u64 := func(at int) int64 { return int64(binary.BigEndian.Uint64(h[at:])) }
	switch {
	case string(h[:4]) != "QFI\xfb" || u32(4) != 3:
		return nil, fmt.Errorf("not qcow2 version 3: %x", h[:8])
	case u32(20) != 16 || u32(96) != 4 || u32(100) != 104:
		return nil, fmt.Errorf("cluster bits %d, refcount order %d, header length %d", u32(20), u32(96), u32(100))
	case u64(8) != 0 || u32(16) != 0 || u32(32) != 0 || u32(60) != 0 || u64(64) != 0:
		return nil, fmt.Errorf("backing file, encryption or snapshots: %x", h[:104])
	case u64(72) != 0 || u64(80) != 0 || u64(88) != 0:
		return nil, fmt.Errorf("feature bits: %x", h[72:96])
	case !bytes.Equal(h[104:], make([]byte, 65536-104)):
		return nil, fmt.Errorf("bytes after the header")
	case fileSize%65536 != 0:
		return nil, fmt.Errorf("file of %d bytes is not whole clusters", fileSize)
	case u64(24)%512 != 0:
		return nil, fmt.Errorf("size %d is not whole sectors", u64(24))
	case u32(36) != (u64(24)+512<<20-1)/(512<<20):
		return nil, fmt.Errorf("%d L1 entries for %d bytes", u32(36), u64(24))
	}
	im := &image{r: r, fileSize: fileSize, size: u64(24), headerTables: []int64{0}}
	var err error
	if im.l1, err = im.table(u64(40), u32(36)); err != nil {
		return nil, fmt.Errorf("L1: %w", err)
	}
	if im.refcountTable, err = im.table(u64(48), u32(56)*8192); err != nil {
		return nil, fmt.Errorf("refcount table: %w", err)
	}
	for i, entry := range im.refcountTable {
		if entry == 0 {
			continue
		}
		if err := im.checkCluster(int64(entry)); err != nil {
			return nil, fmt.Errorf("refcount table entry %d: %w", i, err)
		}
		im.headerTables = append(im.headerTables, int64(entry)/65536)
	}
	return im, nil
}

// table reads a table of 8-byte entries and takes its clusters; what follows the
// entries in the last one must be zero.
func (im *image) table(off, entries int64) ([]uint64, error) {
	clusters := (entries*8 + 65535) / 65536
	b := make([]byte, clusters*65536)
	if off%65536 != 0 || off+int64(len(b)) > im.fileSize {
		return nil, fmt.Errorf("%d entries at %#x of %#x", entries, off, im.fileSize)
	}
	if _, err := im.r.ReadAt(b, off); err != nil {
		return nil, err
	}
	for c := range clusters {
		im.headerTables = append(im.headerTables, off/65536+c)
	}
	if len(bytes.TrimLeft(b[entries*8:], "\x00")) != 0 {
		return nil, fmt.Errorf("bytes after %d entries", entries)
	}
	return bigEndian(b[:entries*8]), nil
}

func bigEndian(b []byte) []uint64 {
	entries := make([]uint64, len(b)/8)
	for i := range entries {
		entries[i] = binary.BigEndian.Uint64(b[i*8:])
	}
	return entries
}

func (im *image) checkCluster(off int64) error {
	if off%65536 != 0 || off <= 0 || off >= im.fileSize {
		return fmt.Errorf("offset %#x in a file of %#x", off, im.fileSize)
	}
	return nil
}

// offset takes an L1 or L2 entry apart: COPIED and an offset, or all zero.
func (im *image) offset(entry uint64) (int64, error) {
	if entry == 0 {
		return 0, nil
	}
	const copied, offsetMask = 1 << 63, 0x00fffffffffffe00
	if entry&copied == 0 || entry&^copied&^offsetMask != 0 {
		return 0, fmt.Errorf("entry %#x", entry)
	}
	off := int64(entry & offsetMask)
	return off, im.checkCluster(off)
}

// l2 reads the L2 table of a span as host offsets, nil if there is none.
func (im *image) l2(span int64) (table int64, offsets []int64, err error) {
	table, err = im.offset(im.l1[span])
	if err != nil || table == 0 {
		return 0, nil, err
	}
	b := make([]byte, 65536)
	if _, err := im.r.ReadAt(b, table); err != nil {
		return 0, nil, err
	}
	offsets = make([]int64, 8192)
	for i, entry := range bigEndian(b) {
		if offsets[i], err = im.offset(entry); err != nil {
			return 0, nil, fmt.Errorf("L2 of span %d, %d: %w", span, i, err)
		}
		if offsets[i] != 0 && (span*8192+int64(i))*65536 >= im.size {
			return 0, nil, fmt.Errorf("L2 of span %d maps cluster %d past the disk's end", span, i)
		}
	}
	return table, offsets, nil
}

// refcount reads the refcount of one host cluster.
func (im *image) refcount(cluster int64) (int, error) {
	block := cluster / 32768
	if block >= int64(len(im.refcountTable)) || im.refcountTable[block] == 0 {
		return 0, nil
	}
	var b [2]byte
	_, err := im.r.ReadAt(b[:], int64(im.refcountTable[block])+cluster%32768*2)
	return int(binary.BigEndian.Uint16(b[:])), err
}

// walk reads all metadata: every host cluster of the file must have exactly one
// user and refcount 1, and every refcount past the file's end must be 0. It
// returns where each allocated guest cluster is in the file.
func (im *image) walk() (map[int64]int64, error) {
	used := make([]bool, im.fileSize/65536)
	use := func(cluster int64) error {
		if used[cluster] {
			return fmt.Errorf("cluster %d is used twice", cluster)
		}
		used[cluster] = true
		return nil
	}
	for _, c := range im.headerTables {
		if err := use(c); err != nil {
			return nil, err
		}
	}
	guest := map[int64]int64{}
	for span := range int64(len(im.l1)) {
		table, offsets, err := im.l2(span)
		if err != nil {
			return nil, err
		}
		if table == 0 {
			continue
		}
		if err := use(table / 65536); err != nil {
			return nil, fmt.Errorf("L2 of span %d: %w", span, err)
		}
		for i, off := range offsets {
			if off == 0 {
				continue
			}
			if err := use(off / 65536); err != nil {
				return nil, fmt.Errorf("guest cluster %d: %w", span*8192+int64(i), err)
			}
			guest[span*8192+int64(i)] = off
		}
	}
	if leak := slices.Index(used, false); leak >= 0 {
		return nil, fmt.Errorf("cluster %d has no user", leak)
	}
	return guest, im.checkRefcounts(used)
}

// checkRefcounts holds every refcount that the file has against what is used.
func (im *image) checkRefcounts(used []bool) error {
	if int64(len(im.refcountTable))*32768 < int64(len(used)) {
		return fmt.Errorf("refcount table of %d blocks for %d clusters", len(im.refcountTable), len(used))
	}
	for block, off := range im.refcountTable {
		if off == 0 {
			if block*32768 < len(used) {
				return fmt.Errorf("refcount block %d is missing", block)
			}
			continue
		}
		counts := make([]byte, 65536)
		if _, err := im.r.ReadAt(counts, int64(off)); err != nil {
			return err
		}
		for i := range 32768 {
			cluster, want := block*32768+i, uint16(0)
			if cluster < len(used) {
				want = 1
			}
			if got := binary.BigEndian.Uint16(counts[i*2:]); got != want {
				return fmt.Errorf("cluster %d: refcount %d, not %d", cluster, got, want)
			}
		}
	}
	return nil
}
