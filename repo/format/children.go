package format

import (
	"encoding/binary"

	"vaultfs/chunk"
)

// Children are the chunks that a structured chunk names, each once, in the
// order in which the chunk first names them. Walking children alone reaches
// everything a snapshot needs, whatever the kinds.
type Children struct {
	Structured []chunk.ID
	Data       []chunk.ID
}

// maxChildren bounds a child list: a structured chunk is at most
// chunk.MaxSize bytes long.
const maxChildren = chunk.MaxSize / 32

// A structured chunk starts with
//
//	kind 1 | structured count 4 | data count 4 | structured IDs | data IDs
const childHead = 1 + 4 + 4

func appendChildren(b []byte, k Kind, c Children) []byte {
	b = append(b, byte(k))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.Structured)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.Data)))
	for _, id := range c.Structured {
		b = append(b, id[:]...)
	}
	for _, id := range c.Data {
		b = append(b, id[:]...)
	}
	return b
}

// DecodeChildren reads the child list at the start of a structured chunk of
// any kind, also one that this version does not know, and returns the rest.
func DecodeChildren(b []byte) (k Kind, c Children, rest []byte, err error) {
	if len(b) < childHead {
		return 0, c, nil, damaged("structured chunk of %d bytes", len(b))
	}
	k = Kind(b[0])
	structured, data := binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:])
	rest = b[childHead:]
	if structured > maxChildren || data > maxChildren || int(structured+data)*32 > len(rest) {
		return 0, c, nil, damaged("%d and %d children in %d bytes", structured, data, len(b))
	}
	c.Structured, rest = cutIDs(rest, int(structured))
	c.Data, rest = cutIDs(rest, int(data))
	for _, ids := range [][]chunk.ID{c.Structured, c.Data} {
		if err := distinct(ids); err != nil {
			return 0, c, nil, err
		}
	}
	return k, c, rest, nil
}

// distinct checks that every ID names a chunk, and each another.
func distinct(ids []chunk.ID) error {
	seen := make(map[chunk.ID]struct{}, len(ids))
	for _, id := range ids {
		seen[id] = struct{}{}
	}
	if _, ok := seen[chunk.ID{}]; ok {
		return damaged("a child without an ID")
	}
	if len(seen) != len(ids) {
		return damaged("a child that stands twice")
	}
	return nil
}

func cutIDs(b []byte, n int) ([]chunk.ID, []byte) {
	if n == 0 {
		return nil, b
	}
	ids := make([]chunk.ID, n)
	for i := range ids {
		copy(ids[i][:], b[32*i:])
	}
	return ids, b[32*n:]
}

// children reads a chunk that must be of kind k.
func children(b []byte, k Kind) (Children, []byte, error) {
	got, c, rest, err := DecodeChildren(b)
	if err != nil {
		return c, nil, err
	}
	if got != k {
		return c, nil, damaged("a %v where a %v belongs", got, k)
	}
	return c, rest, nil
}

// A list builds a child list in which every ID stands once.
type list struct {
	ids   []chunk.ID
	index map[chunk.ID]uint64
}

// add returns the place of id in the list.
func (l *list) add(id chunk.ID) uint64 {
	if i, ok := l.index[id]; ok {
		return i
	}
	if l.index == nil {
		l.index = make(map[chunk.ID]uint64)
	}
	i := uint64(len(l.ids))
	l.index[id] = i
	l.ids = append(l.ids, id)
	return i
}

// reset empties the list and keeps its memory.
func (l *list) reset() {
	clear(l.index)
	l.ids = l.ids[:0]
}
