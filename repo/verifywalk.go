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
	"vaultfs/repo/store"
)

// snapshots returns the chosen snapshots, or all that can be read.
func (v *verifier) snapshots(ctx context.Context) ([]*Snapshot, error) {
	if v.options.Snapshots != nil {
		for _, s := range v.options.Snapshots {
			id, err := format.ParseSnapshotID(s.ID)
			if err != nil {
				return nil, err
			}
			if _, err := v.repo.manifest(ctx, id); err != nil {
				if err := v.found(damage("snapshot "+s.ID, err)); err != nil {
					return nil, err
				}
			}
		}
		return v.options.Snapshots, nil
	}
	all, err := v.repo.Snapshots(ctx)
	for _, err := range split(err) {
		if err := v.found(err); err != nil {
			return nil, err
		}
	}
	return all, v.findGaps(ctx, all)
}

// findGaps reports the snapshots that others name as the one before them and
// that are neither there nor were forgotten, and marks that cannot be read.
func (v *verifier) findGaps(ctx context.Context, all []*Snapshot) error {
	marks, err := v.repo.marks(ctx)
	if err != nil {
		return err
	}
	for id := range marks {
		if _, err := v.repo.mark(ctx, id); err != nil {
			if err := v.found(err); err != nil {
				return err
			}
		}
	}
	have := map[string]bool{}
	for _, s := range all {
		have[s.ID] = true
	}
	for _, s := range all {
		object := "snapshot " + s.Previous
		if _, told := v.findings[object]; s.Previous == "" || have[s.Previous] || told {
			continue
		}
		gap, err := v.isGap(ctx, s)
		if err != nil {
			return err
		}
		if gap {
			v.finding(object, fmt.Errorf("missing; %s of %s names it as the one before", s.Short(), s.Source))
		}
	}
	return nil
}

// isGap tells whether the snapshot before s is neither there, be it of a newer
// version, nor has a mark, which stays as long as s is there.
func (v *verifier) isGap(ctx context.Context, s *Snapshot) (bool, error) {
	before, err := format.ParseSnapshotID(s.Previous)
	if err != nil {
		return false, err
	}
	id, err := format.ParseSnapshotID(s.ID)
	if err != nil {
		return false, err
	}
	for _, object := range []string{snapshotObject(before), forgottenObject(before)} {
		if _, err := v.repo.store.Size(ctx, object); !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	_, err = v.repo.store.Size(ctx, snapshotObject(id))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// walk goes through the structure of the snapshots and notes what is lost.
func (v *verifier) walk(ctx context.Context, snapshots []*Snapshot) error {
	v.result.Snapshots, v.result.Items = 0, 0
	for _, f := range v.findings {
		f.Touches = nil
	}
	w := &walker{repo: v.repo, seen: map[chunk.ID]loss{}, data: v.chunk}
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

// chunk finds out whether a chunk has a good place, as far as is known.
func (v *verifier) chunk(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	places, err := v.places(ctx, id)
	if err != nil {
		return err
	}
	lost := error(&DamageError{"chunk " + id.String()[:16], errors.New("no pack holds it")})
	for _, at := range places {
		hash := at.Pack.Hash
		size, present := v.present[hash]
		switch bad := v.bad[id][hash]; {
		case !present:
			lost = &DamageError{packLabel(hash), errors.New("missing")}
		case size < int64(at.Chunk.Offset)+int64(at.Chunk.Sealed):
			lost = &DamageError{packLabel(hash), errors.New("cut off")}
		case at.Chunk.Kind != k || (plain >= 0 && int64(at.Chunk.Plain) != plain):
			lost = &DamageError{packLabel(hash), fmt.Errorf("chunk %v is not what its map says", id)}
		case bad != nil:
			lost = &DamageError{packLabel(hash), bad}
		default:
			v.use(hash, at)
			return nil
		}
		v.use(hash, at)
	}
	return lost
}

// places looks a chunk up. One that no run lists may be in a pack all the same.
func (v *verifier) places(ctx context.Context, id chunk.ID) ([]index.Location, error) {
	places := v.repo.index.Lookup(id)
	if len(places) > 0 || v.footers {
		return places, nil
	}
	if err := v.readFooters(ctx); err != nil {
		return nil, err
	}
	if places = v.repo.index.Lookup(id); len(places) > 0 && !v.indexLost {
		v.finding("index", errors.New("it does not list all that the snapshots need; `vaultfs repair index` makes a new one"))
	}
	return places, nil
}

func (v *verifier) use(hash format.PackHash, at index.Location) {
	v.used[hash] = true
	v.sessions[hash] = at.Session
	if _, ok := v.listed[hash]; !ok {
		v.listed[hash] = at.Pack
	}
}
