package format

import (
	"encoding/binary"

	"vaultfs/chunk"
)

// NodeEntries is the number of entries of a full stream node.
const NodeEntries = 1024

// maxStreamLevel bounds the height of a stream's tree: NodeEntries^6 chunks
// are more than any stream has.
const maxStreamLevel = 5

// A StreamNode is a node of the tree that holds a stream. The entries of
// level 0 are data chunks, those of a higher level nodes of the level below.
// The root of an empty stream is a node of level 0 without entries.
type StreamNode struct {
	Level   int
	Entries []StreamEntry
}

// A StreamEntry is a run of Len bytes of a stream.
type StreamEntry struct {
	Len int64
	ID  chunk.ID
}

// Size is the number of bytes below the node.
func (n *StreamNode) Size() (size int64) {
	for _, e := range n.Entries {
		size += e.Len
	}
	return size
}

// Encode makes the chunk of kind Stream.
func (n *StreamNode) Encode() []byte {
	var ids list
	body := binary.AppendUvarint(nil, uint64(n.Level))
	body = binary.AppendUvarint(body, uint64(len(n.Entries)))
	for _, e := range n.Entries {
		body = binary.AppendUvarint(body, uint64(e.Len))
		body = binary.AppendUvarint(body, ids.add(e.ID))
	}
	c := Children{Structured: ids.ids}
	if n.Level == 0 {
		c = Children{Data: ids.ids}
	}
	return append(appendChildren(nil, Stream, c), body...)
}

// DecodeStreamNode reads a stream node.
func DecodeStreamNode(b []byte) (*StreamNode, error) {
	c, rest, err := children(b, Stream)
	if err != nil {
		return nil, err
	}
	r := reader{b: rest}
	level, n := r.uint(), r.uint()
	if level > maxStreamLevel || n > NodeEntries || (n == 0 && level > 0) {
		return nil, damaged("stream node of level %d with %d entries", level, n)
	}
	ids, others := c.Data, c.Structured
	if level > 0 {
		ids, others = others, ids
	}
	if len(others) != 0 {
		return nil, damaged("stream node of level %d names children of the other sort", level)
	}
	node := &StreamNode{Level: int(level), Entries: make([]StreamEntry, 0, n)}
	seen, total := uint64(0), uint64(0)
	for range n {
		length, i := r.uint(), r.uint()
		if length == 0 || length > 1<<60 || (level == 0 && length > chunk.MaxSize) || total+length > 1<<62 {
			return nil, damaged("stream entry of %d bytes", length)
		}
		if !known(i, &seen, len(ids)) {
			return nil, damaged("stream entry names child %d", i)
		}
		total += length
		node.Entries = append(node.Entries, StreamEntry{int64(length), ids[i]})
	}
	return node, finish(&r, seen, len(ids))
}
