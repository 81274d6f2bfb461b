package index

import (
	"errors"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// Each calls fn for every entry, by rising number: table by table, and in a
// table by rising ID.
func (v *View) Each(fn func(e Entry) error) error {
	for i := range v.tables {
		if err := v.failed(v.tables[i].each(fn)); err != nil {
			return err
		}
	}
	return nil
}

// each calls fn for the entries of one table that are in the view.
func (t *viewTable) each(fn func(e Entry) error) error {
	c := newCursor(t.table)
	for {
		more, err := c.nextBlock()
		if err != nil || !more {
			return err
		}
		for ; c.at < c.have; c.at++ {
			if err := t.emit(&c, fn); err != nil {
				return err
			}
		}
	}
}

// Find calls fn for each place of each of the chunks, which are sorted and each
// given once; at is the chunk's place in ids. The places of a chunk come one
// after the other, and chunks in the order of ids. No part of the index is read
// more than once in a call, so that many IDs at a time take less time each.
func (v *View) Find(ids []chunk.ID, fn func(at int, e Entry) error) error {
	cursors := make([]cursor, len(v.tables))
	for i, t := range v.tables {
		cursors[i] = newCursor(t.table)
	}
	for at, id := range ids {
		if at > 0 && compareID(ids[at-1], id) >= 0 {
			return errors.New("index view: the chunks that are looked for are not sorted")
		}
		for i := range v.tables {
			err := v.tables[i].find(&cursors[i], id, func(e Entry) error { return fn(at, e) })
			if err := v.failed(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// find calls fn for each entry of a chunk in one table.
func (t *viewTable) find(c *cursor, id chunk.ID, fn func(e Entry) error) error {
	found, err := c.seek(id)
	for ; err == nil && found; found, err = c.nextOf(id) {
		if err := t.emit(c, fn); err != nil {
			return err
		}
	}
	return err
}

// emit calls fn for the entry that the cursor is at, if it is in the view.
func (t *viewTable) emit(c *cursor, fn func(e Entry) error) error {
	b := c.entry()
	pack := entryPack(b)
	if int64(pack) >= t.packs {
		return t.fail(ErrTable)
	}
	number := t.global[pack]
	if number == notInView {
		return nil
	}
	e := format.DecodeRunEntry(b)
	return fn(Entry{t.base + c.number(), int(number), e.Ordinal, e.PackEntry})
}
