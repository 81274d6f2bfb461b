package index

import (
	"bytes"

	"vaultfs/chunk"
)

// Chunks calls fn for every chunk, by rising ID, with all its places in the
// order in which Find gives them. The places are good until fn returns.
func (v *View) Chunks(fn func(places []Entry) error) error {
	cursors := make([]cursor, len(v.tables))
	for i, t := range v.tables {
		cursors[i] = newCursor(t.table)
		if _, err := cursors[i].nextBlock(); err != nil {
			return v.failed(err)
		}
	}
	var places []Entry
	keep := func(e Entry) error { places = append(places, e); return nil }
	for {
		id, ok := lowest(cursors)
		if !ok {
			return nil
		}
		places = places[:0]
		for i := range cursors {
			for cursors[i].is(id) {
				err := v.tables[i].emit(&cursors[i], keep)
				if err == nil {
					err = cursors[i].next()
				}
				if err != nil {
					return v.failed(err)
				}
			}
		}
		if len(places) == 0 {
			continue
		}
		if err := fn(places); err != nil {
			return err
		}
	}
}

// lowest is the lowest chunk that any of the cursors is at; false if all are at
// the end.
func lowest(cursors []cursor) (id chunk.ID, ok bool) {
	var least []byte
	for i := range cursors {
		if c := &cursors[i]; c.at < c.have && (least == nil || bytes.Compare(c.entry()[:len(id)], least) < 0) {
			least = c.entry()[:len(id)]
		}
	}
	copy(id[:], least)
	return id, least != nil
}
