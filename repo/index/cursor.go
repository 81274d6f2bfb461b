package index

import (
	"encoding/binary"
	"sort"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A cursor goes forward through the entries of a table.
type cursor struct {
	table    *table
	block    int // that is read; -1 before the first
	at, have int // place in the block, and its number of entries
	b        []byte
}

func newCursor(t *table) cursor {
	return cursor{table: t, block: -1, b: make([]byte, blockSize)}
}

// entry is the encoded entry that the cursor is at.
func (c *cursor) entry() []byte { return c.b[c.at*format.RunEntrySize:][:format.RunEntrySize] }

// number is the place in the table of that entry.
func (c *cursor) number() int64 { return int64(c.block)*blockEntries + int64(c.at) }

func (c *cursor) load(block int) (err error) {
	c.block, c.at = block, 0
	c.have, err = c.table.block(block, c.b)
	return err
}

// nextBlock goes to the start of the next block, if there is one.
func (c *cursor) nextBlock() (bool, error) {
	if c.block+1 >= len(c.table.fences) {
		return false, nil
	}
	return true, c.load(c.block + 1)
}

// next goes to the next entry; at the end it is at none.
func (c *cursor) next() error {
	if c.at++; c.at < c.have {
		return nil
	}
	_, err := c.nextBlock()
	return err
}

// seek goes to the first entry of a chunk, and tells whether there is one. IDs
// that were sought before are lower.
func (c *cursor) seek(id chunk.ID) (bool, error) {
	if c.have == 0 || string(c.b[(c.have-1)*format.RunEntrySize:][:32]) < string(id[:]) {
		if ok, err := c.skipTo(id); !ok {
			return false, err
		}
	}
	c.at += sort.Search(c.have-c.at, func(i int) bool {
		return string(c.b[(c.at+i)*format.RunEntrySize:][:32]) >= string(id[:])
	})
	return c.is(id), nil
}

// skipTo reads the first block behind this one that ends with the chunk or a
// later one. It is false if that block does not begin at or before the chunk.
func (c *cursor) skipTo(id chunk.ID) (bool, error) {
	fences, prefix := c.table.fences, binary.BigEndian.Uint64(id[:])
	behind := c.block + 1
	// The last block that begins before all IDs with the same first 8 bytes.
	next := behind + max(0, sort.Search(len(fences)-behind, func(i int) bool { return fences[behind+i] >= prefix })-1)
	for ; next < len(fences) && fences[next] <= prefix; next++ {
		if err := c.load(next); err != nil {
			return false, err
		}
		if string(c.b[(c.have-1)*format.RunEntrySize:][:32]) >= string(id[:]) {
			return true, nil
		}
	}
	return false, nil
}

// nextOf goes to the next entry, and tells whether it is of the same chunk.
func (c *cursor) nextOf(id chunk.ID) (bool, error) {
	c.at++
	if c.at < c.have {
		return c.is(id), nil
	}
	next := c.block + 1
	if next >= len(c.table.fences) || c.table.fences[next] > binary.BigEndian.Uint64(id[:]) {
		return false, nil
	}
	err := c.load(next)
	return err == nil && c.is(id), err
}

// is tells whether the cursor is at an entry of the chunk.
func (c *cursor) is(id chunk.ID) bool {
	return c.at < c.have && string(c.entry()[:32]) == string(id[:])
}
