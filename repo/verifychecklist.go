package repo

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

var (
	// checklistSize is how many chunks are looked for at a time: 18 MiB with their IDs.
	checklistSize = 1 << 18

	// lackingMost is how many lacking chunks are remembered. Where there are more,
	// each chunk is looked up by itself.
	lackingMost = 1 << 18
)

// errChecklist says that chunks cannot be looked for in large numbers.
var errChecklist = errors.New("too many chunks are lacking, or the index is")

// A checklist looks for data chunks in the index, many at a time and in order,
// so that each part of the index is read once for all of them.
type checklist struct {
	verifier *verifier
	wanted   []wanted
	ids      []chunk.ID
	lacking  map[wanted]bool // that have no good place

	view *index.View
	head *format.Head // that the view is of
}

// A wanted is a data chunk that structure names.
type wanted struct {
	id    chunk.ID
	plain uint32 // bytes that it has, by what names it
}

func (w wanted) compare(o wanted) int {
	return cmp.Or(
		cmp.Compare(binary.BigEndian.Uint64(w.id[:]), binary.BigEndian.Uint64(o.id[:])), // decides nearly always
		slices.Compare(w.id[8:], o.id[8:]),
		cmp.Compare(w.plain, o.plain))
}

// data is walker.data: it notes a data chunk for later, and looks at any other
// at once.
func (l *checklist) data(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	if k != format.Data || plain < 0 {
		return l.verifier.chunk(ctx, k, id, plain)
	}
	if l.wanted == nil {
		l.wanted, l.ids = make([]wanted, 0, checklistSize), make([]chunk.ID, 0, checklistSize)
	}
	l.wanted = append(l.wanted, wanted{id, uint32(plain)})
	if len(l.wanted) < checklistSize {
		return nil
	}
	return l.check(ctx)
}

// again is walker.data of the second walk: only the lacking chunks are looked up.
func (l *checklist) again(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	if k == format.Data && plain >= 0 && !l.lacking[wanted{id, uint32(plain)}] {
		return nil
	}
	return l.verifier.chunk(ctx, k, id, plain)
}

// check looks for the chunks that were noted.
func (l *checklist) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil || len(l.wanted) == 0 {
		return err
	}
	if err := l.takeView(); err != nil {
		return err
	}
	slices.SortFunc(l.wanted, wanted.compare)
	l.wanted = slices.Compact(l.wanted)
	l.ids = l.ids[:0]
	for _, w := range l.wanted {
		if n := len(l.ids); n == 0 || l.ids[n-1] != w.id {
			l.ids = append(l.ids, w.id)
		}
	}
	err := l.find()
	l.wanted = l.wanted[:0]
	return err
}

// find goes through what is wanted and the places of it side by side.
func (l *checklist) find() error {
	var places []index.Entry
	next, at := 0, 0 // in wanted; the chunk that places is of, in ids
	settle := func(upTo int) error {
		for ; at < upTo; at++ {
			for ; next < len(l.wanted) && l.wanted[next].id == l.ids[at]; next++ {
				if err := l.settle(l.wanted[next], places); err != nil {
					return err
				}
			}
			places = places[:0]
		}
		return nil
	}
	err := l.view.Find(l.ids, func(i int, e index.Entry) error {
		if err := settle(i); err != nil {
			return err
		}
		places = append(places, e)
		return nil
	})
	if errors.Is(err, index.ErrTable) {
		return errChecklist // the temporary index is damaged: verify says so in the end
	}
	if err != nil {
		return err
	}
	return settle(len(l.ids))
}

// settle decides on one chunk. Of its good places it notes one as used, if
// there is such one that is neither condemned nor known to be damaged.
func (l *checklist) settle(w wanted, places []index.Entry) error {
	v, best, rank := l.verifier, -1, 3
	for _, e := range places {
		i, ok := v.packs.numberOf(l.view.Packs(), e.Pack)
		if !ok || !v.good(i, w, e) {
			continue
		}
		if r := v.packs.rank(i); r < rank {
			best, rank = i, r
		}
	}
	if best >= 0 {
		v.packs.state[best] |= packUsed
		return nil
	}
	if l.lacking == nil {
		l.lacking = map[wanted]bool{}
	}
	if len(l.lacking) == lackingMost {
		return errChecklist
	}
	l.lacking[w] = true
	return nil
}

// good tells whether a place of a chunk, in the pack of that number, is good as
// far as is known.
func (v *verifier) good(pack int, w wanted, e index.Entry) bool {
	return e.Kind == format.Data && e.Plain == w.plain && int64(v.packs.size[pack]) >= int64(e.Offset)+int64(e.Sealed) &&
		(len(v.bad) == 0 || v.bad[v.packs.List[pack].Hash].lost(e.Ordinal) == nil)
}

// numberOf is the number in the table of a pack of a view. Mostly both have the
// same packs.
func (t *packTable) numberOf(other *index.Packs, pack int) (int, bool) {
	hash := other.List[pack].Hash
	if pack < len(t.List) && t.List[pack].Hash == hash {
		return pack, true
	}
	return t.Find(hash)
}

// rank tells how little a pack is to be relied on.
func (t *packTable) rank(i int) int {
	if t.List[i].Damaged {
		return 2
	}
	if _, condemned := t.Condemned(i); condemned {
		return 1
	}
	return 0
}

// takeView makes a view of the index as it is in step with the head now.
func (l *checklist) takeView() (err error) {
	v := l.verifier
	if v.indexLost || v.footers || v.head == nil {
		return errChecklist // what the index lacks may be found in the packs
	}
	if l.view != nil && l.head == v.head {
		return nil
	}
	l.close()
	if l.view, err = v.repo.index.View(); err != nil {
		l.view = nil
		return errChecklist
	}
	l.head = v.head
	return nil
}

func (l *checklist) close() {
	if l.view != nil {
		_ = l.view.Close() // it was only read
		l.view = nil
	}
}
