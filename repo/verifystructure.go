package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// walk goes through the structure of the snapshots and notes what is lost. The
// data that it names are looked for many at a time, which is much faster; only
// where some are lacking it is walked again, to tell whom that touches.
func (v *verifier) walk(ctx context.Context, snapshots []*Snapshot) error {
	list := &checklist{verifier: v}
	defer list.close()
	err := v.walkWith(ctx, snapshots, list.data)
	if err == nil {
		err = list.check(ctx)
	}
	if err == nil && len(list.lacking) > 0 {
		err = v.walkWith(ctx, snapshots, list.again)
	}
	if errors.Is(err, errChecklist) {
		err = v.walkWith(ctx, snapshots, v.chunk)
	}
	return err
}

// walkWith walks the snapshots, and asks data about every chunk.
func (v *verifier) walkWith(ctx context.Context, snapshots []*Snapshot, data func(context.Context, format.Kind, chunk.ID, int64) error) error {
	v.result.Snapshots, v.result.Items = 0, 0
	for _, f := range v.findings {
		f.Touches = nil
	}
	w := &walker{repo: v.repo, seen: map[chunk.ID]loss{}, data: data, fetch: v.fetch}
	for _, s := range snapshots {
		v.result.Snapshots++
		for _, it := range s.Items {
			v.result.Items++
			lost, err := w.item(ctx, it)
			if err != nil {
				return fmt.Errorf("snapshot %s: %w", s.Short(), err)
			}
			for object, l := range lost {
				f := v.finding(object, l.err)
				f.Touches = append(f.Touches, touch(s, it, l))
			}
		}
	}
	for _, f := range v.findings {
		slices.SortFunc(f.Touches, func(a, b Touch) int {
			return cmp.Or(a.Snapshot.Time.Compare(b.Snapshot.Time), strings.Compare(a.Item, b.Item))
		})
	}
	return nil
}

func touch(s *Snapshot, it Item, l *lostObject) Touch {
	t := Touch{Snapshot: s, Item: it.Name, Bytes: l.bytes, Files: int64(l.files), Paths: slices.Clone(l.paths)}
	for i, p := range t.Paths {
		if p == "" {
			t.Paths[i] = "."
		}
	}
	return t
}

// fetch reads a structured chunk. Where it cannot be read, a collector may have
// put it elsewhere meanwhile.
func (v *verifier) fetch(ctx context.Context, k format.Kind, id chunk.ID) ([]byte, error) {
	b, err := v.repo.fetch(ctx, k, id)
	if errors.Is(err, ErrDamaged) {
		moved, catching := v.catchUp(ctx)
		if catching != nil {
			return nil, catching
		}
		if moved {
			b, err = v.repo.fetch(ctx, k, id)
		}
	}
	v.holes = v.holes || errors.Is(err, ErrDamaged)
	return b, err
}

// chunk finds out whether a chunk has a good place, as far as is known.
func (v *verifier) chunk(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	places, err := v.places(ctx, id)
	if err != nil {
		return err
	}
	lost := error(&DamageError{"chunk " + id.String()[:16], errors.New("no pack holds it")})
	for _, at := range places {
		if lost = v.place(k, at, plain); lost == nil {
			return nil
		}
	}
	v.holes = v.holes || k.Structured() || plain < 0 // it may name others
	return lost
}

// place finds out whether a place of a chunk is good, as far as is known.
func (v *verifier) place(k format.Kind, at index.Location, plain int64) error {
	hash := at.Pack.Hash
	size := int64(notThere)
	if i, ok := v.packs.Find(hash); ok {
		size = int64(v.packs.size[i])
		v.packs.state[i] |= packUsed
	}
	switch bad := v.bad[hash].lost(at.Ordinal); {
	case size == notThere:
		return &DamageError{packLabel(hash), errors.New("missing")}
	case size < int64(at.Chunk.Offset)+int64(at.Chunk.Sealed):
		return &DamageError{packLabel(hash), errors.New("cut off")}
	case at.Chunk.Kind != k || (plain >= 0 && int64(at.Chunk.Plain) != plain):
		return &DamageError{packLabel(hash), fmt.Errorf("chunk %v is not what its map says", at.Chunk.ID)}
	case bad != nil:
		return &DamageError{packLabel(hash), bad}
	}
	return nil
}

// places looks a chunk up. One that no run lists may have been put elsewhere by a
// collector meanwhile, or be in a pack all the same.
func (v *verifier) places(ctx context.Context, id chunk.ID) ([]index.Location, error) {
	places := v.repo.index.Lookup(id)
	if len(places) > 0 {
		return places, nil
	}
	if moved, err := v.catchUp(ctx); err != nil {
		return nil, err
	} else if moved {
		if places = v.repo.index.Lookup(id); len(places) > 0 {
			return places, nil
		}
	}
	if v.footers {
		return nil, nil
	}
	if err := v.readFooters(ctx); err != nil {
		return nil, err
	}
	if places = v.repo.index.Lookup(id); len(places) > 0 && !v.indexLost {
		v.finding("index", errors.New("it does not list all that the snapshots need; `vaultfs repair index` makes a new one"))
	}
	return places, nil
}
