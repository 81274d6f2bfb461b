package index

import (
	"encoding/binary"
	"hash/crc32"

	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// A table file is
//
//	blocks of entries | secrets | packs | fences | sessions | sets | trailer
//
// A block is blockSize bytes: entries as in an index run, zeros, CRC-32C.
// A secret is 1 or 0, the sealed secret of a session or zeros, CRC-32C; a pack is
// what it is in an index run, the number of its set, CRC-32C, and packs are sorted
// by hash. These three are read when they are asked for.
//
// A fence is the first 8 bytes of a block's first ID. A session is its ID; they are
// sorted. A set is the number of its packs' entries (8 bytes), the number of its
// runs (4) and these: places in the list of runs that the catalog keeps (4 each).
// These three are kept in memory.
//
// The trailer is the magic, the numbers of entries, sessions, packs and sets (8
// bytes each), the length of the sets, the CRC-32C of fences, sessions and sets,
// and its own.
const (
	tableMagic   = "VFSIDX_2"
	blockSize    = 4096
	blockEntries = (blockSize - 4) / format.RunEntrySize
	secretSize   = 1 + seal.SealedSecretSize + 4
	packSize     = format.RunPackSize + 4 + 4
	sessionSize  = len(format.SnapshotID{})
	trailerSize  = 8 + 5*8 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// addSum appends the CRC-32C of b[from:].
func addSum(b []byte, from int) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

// sumRight checks what ends with its CRC-32C.
func sumRight(b []byte) bool {
	n := len(b) - 4
	return crc32.Checksum(b[:n], castagnoli) == binary.BigEndian.Uint32(b[n:])
}

// A layout is the numbers in a trailer.
type layout struct {
	entries, sessions, packs, sets, setsSize int64

	sum uint32 // of what is kept in memory
}

func (l layout) encode() []byte {
	b := []byte(tableMagic)
	for _, n := range [...]int64{l.entries, l.sessions, l.packs, l.sets, l.setsSize} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return addSum(binary.BigEndian.AppendUint32(b, l.sum), 0)
}

// decodeLayout reads the trailer of a file of that size.
func decodeLayout(b []byte, size int64) (l layout, ok bool) {
	if string(b[:8]) != tableMagic || !sumRight(b) {
		return l, false
	}
	for i, n := range [...]*int64{&l.entries, &l.sessions, &l.packs, &l.sets, &l.setsSize} {
		*n = int64(binary.BigEndian.Uint64(b[8+8*i:]))
		if *n < 0 || *n > size {
			return l, false
		}
	}
	l.sum = binary.BigEndian.Uint32(b[48:])
	return l, l.setsAt()+l.setsSize+trailerSize == size && l.sets <= l.setsSize/12
}

func (l layout) blocks() int64     { return (l.entries + blockEntries - 1) / blockEntries }
func (l layout) secretsAt() int64  { return l.blocks() * blockSize }
func (l layout) packsAt() int64    { return l.secretsAt() + l.sessions*secretSize }
func (l layout) fencesAt() int64   { return l.packsAt() + l.packs*packSize }
func (l layout) sessionsAt() int64 { return l.fencesAt() + l.blocks()*8 }
func (l layout) setsAt() int64     { return l.sessionsAt() + l.sessions*int64(sessionSize) }

// appendSecret encodes the secret of a session; nil is none.
func appendSecret(b, secret []byte) []byte {
	from := len(b)
	b = append(append(b, byte(min(1, len(secret)))), secret...)
	b = append(b, make([]byte, from+secretSize-4-len(b))...)
	return addSum(b, from)
}

// appendPack encodes a pack and the number of its set.
func appendPack(b []byte, p format.RunPack, set uint32) []byte {
	from := len(b)
	return addSum(binary.BigEndian.AppendUint32(p.Append(b), set), from)
}

// appendSet encodes a set.
func appendSet(b []byte, s runSet) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.entries))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.runs)))
	for _, r := range s.runs {
		b = binary.BigEndian.AppendUint32(b, r)
	}
	return b
}

// cutSet reads an encoded set off b.
func cutSet(b []byte) (s runSet, rest []byte, ok bool) {
	if len(b) < 12 {
		return s, nil, false
	}
	s.entries = int64(binary.BigEndian.Uint64(b))
	n := int(binary.BigEndian.Uint32(b[8:]))
	if b = b[12:]; n > len(b)/4 {
		return s, nil, false
	}
	s.runs = make([]uint32, n)
	for i := range s.runs {
		s.runs[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return s, b[4*n:], true
}

// entryPack is the number of the pack in an encoded entry.
func entryPack(e []byte) uint32 { return binary.BigEndian.Uint32(e[33:]) }

// entryOrdinal is the place in the pack in an encoded entry.
func entryOrdinal(e []byte) uint32 { return binary.BigEndian.Uint32(e[37:]) }
