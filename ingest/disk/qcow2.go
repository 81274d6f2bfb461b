package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// A qcowHeader is what the header of a qcow2 or qcow image says about other
// files and about its state. The offsets are those of QEMU's
// docs/interop/qcow2.txt and block/qcow.c; all integers are big-endian.
type qcowHeader struct {
	version       uint32
	backing       string // name of the backing file as it stands there; "" for none
	backingFormat string // "" if the header does not say
	external      bool   // the guest's data is in another file
	dataFile      string // its name
	dirty         bool   // was not closed
	snapshots     uint32 // internal ones
	usual         bool   // nothing in it makes QEMU refuse the image, or read it in a way of its own
	tables        qcow2Tables
}

const (
	qcowMagic = "QFI\xfb"

	qcow1Header = 48
	qcow2Header = 72  // of version 2
	qcow3Header = 104 // of version 3, at least

	maxBackingName = 1023

	// Incompatible features: one that is not known here changes what the
	// image's bytes mean.
	incompatDirty    = 1 << 0
	incompatCorrupt  = 1 << 1
	incompatData     = 1 << 2
	incompatCompress = 1 << 3
	incompatSubL2    = 1 << 4
	incompatKnown    = incompatDirty | incompatCorrupt | incompatData | incompatCompress | incompatSubL2

	// Header extensions.
	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extDataFile      = 0x44415441
)

// readQcow reads a header. It reads at most the first cluster, of at most
// 2 MiB. Its errors are what to say of the image, without its name.
func readQcow(r io.ReaderAt, format string) (*qcowHeader, error) {
	head := make([]byte, qcow3Header)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot be read (%w)", err)
	}
	clear(head[n:])
	if n < qcow1Header || string(head[:4]) != qcowMagic {
		return nil, fmt.Errorf("has no %s header", format)
	}
	switch version := binary.BigEndian.Uint32(head[4:]); {
	case version == 1 && format == qcowFormat:
		return readQcow1(r, head)
	case (version == 2 || version == 3) && format == qcow2Format:
		return readQcow2(r, head, version)
	default:
		return nil, fmt.Errorf("has a qcow header of version %d, which is not %s", version, format)
	}
}

func readQcow1(r io.ReaderAt, head []byte) (*qcowHeader, error) {
	if binary.BigEndian.Uint32(head[36:]) != 0 {
		return nil, errEncrypted
	}
	h := &qcowHeader{version: 1}
	var err error
	h.backing, err = backingName(r, binary.BigEndian.Uint64(head[8:]), binary.BigEndian.Uint32(head[16:]), 1<<20)
	return h, err
}

var errEncrypted = errors.New("is encrypted, which is not supported: decrypt it with qemu-img convert")

func readQcow2(r io.ReaderAt, head []byte, version uint32) (*qcowHeader, error) {
	h := &qcowHeader{version: version, snapshots: binary.BigEndian.Uint32(head[60:])}
	bits := binary.BigEndian.Uint32(head[20:])
	if bits < 9 || bits > 21 {
		return nil, fmt.Errorf("is damaged (clusters of 2^%d bytes)", bits)
	}
	table := binary.BigEndian.Uint64(head[40:])
	if table > 1<<62 {
		return nil, fmt.Errorf("is damaged (L1 table at %#x)", table)
	}
	h.tables = qcow2Tables{
		guest: binary.BigEndian.Uint64(head[24:]), offset: table, entries: uint64(binary.BigEndian.Uint32(head[36:])), clusterBits: bits,
	}
	cluster := uint64(1) << bits
	if binary.BigEndian.Uint32(head[32:]) != 0 {
		return nil, errEncrypted
	}
	start := uint64(qcow2Header)
	if version == 3 {
		if err := h.features(binary.BigEndian.Uint64(head[72:])); err != nil {
			return nil, err
		}
		start = uint64(binary.BigEndian.Uint32(head[100:]))
		if start < qcow3Header || start > cluster {
			return nil, fmt.Errorf("is damaged (header of %d bytes)", start)
		}
	}
	offset := binary.BigEndian.Uint64(head[8:])
	var err error
	if h.backing, err = backingName(r, offset, binary.BigEndian.Uint32(head[16:]), cluster); err != nil {
		return nil, err
	}
	end := cluster
	if offset != 0 {
		end = min(end, offset)
	}
	if err := h.extensions(r, start, end); err != nil {
		return nil, err
	}
	if h.external && h.dataFile == "" {
		return nil, errors.New("keeps its data in another file and does not say in which")
	}
	h.usual = h.isUsual(head)
	return h, nil
}

// Bounds of QEMU's (block/qcow2.h).
const (
	maxL1Bytes       = 32 << 20
	maxRefcountBytes = 8 << 20
	maxRefcountOrder = 6
	maxSnapshots     = 1 << 16
	minBitsSubL2     = 14
)

// isUsual looks at what QEMU checks as it opens an image (block/qcow2.c,
// qcow2_do_open). Where that fails QEMU is to say so in its own words.
func (h *qcowHeader) isUsual(head []byte) bool {
	t := &h.tables
	aligned := uint64(1)<<t.clusterBits - 1
	refcounts, clusters := binary.BigEndian.Uint64(head[48:]), uint64(binary.BigEndian.Uint32(head[56:]))
	switch {
	case t.guest > repo.MaxDiskSize, t.guest%ingest.Sector != 0,
		t.offset&aligned != 0, t.entries*8 > maxL1Bytes, t.entries < pieces(t.guest, t.span()),
		refcounts == 0, refcounts&aligned != 0, clusters == 0, clusters<<t.clusterBits > maxRefcountBytes,
		h.snapshots > maxSnapshots, t.subclusters && t.clusterBits < minBitsSubL2:
		return false
	}
	return h.version == 2 || binary.BigEndian.Uint32(head[96:]) <= maxRefcountOrder
}

func (h *qcowHeader) features(incompatible uint64) error {
	h.dirty = incompatible&incompatDirty != 0
	h.external = incompatible&incompatData != 0
	h.tables.external, h.tables.subclusters = h.external, incompatible&incompatSubL2 != 0
	switch {
	case incompatible&incompatCorrupt != 0:
		return errors.New("is marked as corrupt by QEMU: look at it with qemu-img check before anything else")
	case incompatible&^incompatKnown != 0:
		return fmt.Errorf("needs features that are not known here (incompatible_features %#x)", incompatible)
	}
	return nil
}

// backingName reads the name of length bytes at offset, which lies within the
// first limit bytes.
func backingName(r io.ReaderAt, offset uint64, length uint32, limit uint64) (string, error) {
	if offset == 0 || length == 0 {
		return "", nil
	}
	if length > maxBackingName || offset > limit || uint64(length) > limit-offset {
		return "", fmt.Errorf("is damaged (name of a backing file of %d bytes at %d)", length, offset)
	}
	return readName(r, "backing file", int64(offset), int64(length))
}

func readName(r io.ReaderAt, what string, offset, length int64) (string, error) {
	p := make([]byte, length)
	if _, err := r.ReadAt(p, offset); err != nil {
		return "", fmt.Errorf("cannot be read where the name of its %s is (%w)", what, err)
	}
	if strings.ContainsRune(string(p), 0) {
		return "", fmt.Errorf("is damaged (name of its %s holds a NUL byte: %q)", what, p)
	}
	return string(p), nil
}

// extensions reads the header extensions in [start, end): type and length of 4
// bytes each, then data padded to 8.
func (h *qcowHeader) extensions(r io.ReaderAt, start, end uint64) error {
	var head [8]byte
	for at := start; at+8 <= end; {
		if _, err := r.ReadAt(head[:], int64(at)); errors.Is(err, io.EOF) {
			return nil // a file that ends here has none
		} else if err != nil {
			return fmt.Errorf("cannot be read (%w)", err)
		}
		kind, length := binary.BigEndian.Uint32(head[:]), uint64(binary.BigEndian.Uint32(head[4:]))
		at += 8
		if kind == extEnd {
			return nil
		}
		if length > end-at {
			return fmt.Errorf("is damaged (header extension %#x of %d bytes)", kind, length)
		}
		if err := h.extension(r, kind, int64(at), int64(length)); err != nil {
			return err
		}
		at += (length + 7) &^ 7
	}
	return nil
}

func (h *qcowHeader) extension(r io.ReaderAt, kind uint32, at, length int64) (err error) {
	var name *string
	what, longest := "", int64(maxBackingName)
	switch kind {
	case extBackingFormat:
		name, what, longest = &h.backingFormat, "backing format", 15
	case extDataFile:
		name, what = &h.dataFile, "data file"
	default:
		return nil
	}
	if length > longest || *name != "" {
		return fmt.Errorf("is damaged (%s given twice or in %d bytes)", what, length)
	}
	*name, err = readName(r, what, at, length)
	return err
}
