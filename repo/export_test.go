package repo

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// SmallPacks makes sessions write packs of about 64 KiB, list each at once and
// merge their runs often, and new passwords cheap, until it is undone.
func SmallPacks() (undo func()) {
	target, piece, bytes, merge, cost := packTarget, packPiece, runBytes, mergeRuns, passwordCost
	packTarget, packPiece, runBytes, mergeRuns = 64<<10, 24<<10, 1, 3
	passwordCost = seal.KDF{Memory: 64, Time: 1, Threads: 1}
	return func() { packTarget, packPiece, runBytes, mergeRuns, passwordCost = target, piece, bytes, merge, cost }
}

// TinyPacks makes sessions write a pack for every chunk, until it is undone.
func TinyPacks() (undo func()) {
	target := packTarget
	packTarget = 1
	return func() { packTarget = target }
}

// ShallowTrees sets how many directories may lie one in the other, until it is
// undone.
func ShallowTrees(depth int) (undo func()) {
	was := maxDepth
	maxDepth = depth
	return func() { maxDepth = was }
}

// ResolveIn is Resolve among snapshots that are given.
var ResolveIn = resolve

// DoubtsOf are why a session does not rely on its base without looking.
func DoubtsOf(s *Session) []string { return s.base.doubts }

// WalkAll makes a session walk at its commit what it took over as well.
func WalkAll(s *Session) { s.inherited.disks = nil }

// PackOf is the object that a chunk lies in.
func PackOf(r *Repo, id chunk.ID) string {
	at := r.index.Lookup(id)[0]
	return packObject(at.Session, at.Pack.Hash)
}

// ChunkIDs are the IDs of all chunks that a repository lists.
func ChunkIDs(ctx context.Context, r *Repo) (ids [][]byte) {
	h, err := r.currentHead(ctx)
	if err != nil {
		panic(err)
	}
	for _, n := range h.Runs {
		run, err := r.loadRun(ctx, n)
		if err != nil {
			panic(err)
		}
		for _, e := range run.Entries {
			ids = append(ids, bytes.Clone(e.ID[:]))
		}
	}
	return ids
}

// SecretsOf are the keys of a repository.
func SecretsOf(r *Repo) [][]byte {
	s := r.secrets
	return [][]byte{s.IDKey[:], s.GrainKey[:], s.StructureKey[:], s.WriteKey[:], s.Identities[0].Private[:], s.Identities[0].Public[:64]}
}

// LostOf are the objects for which bytes of an item are lost, by a walk that
// knows its kind or by one that knows child lists only.
func LostOf(ctx context.Context, r *Repo, it Item, generic bool) ([]string, error) {
	fresh, err := r.fresh()
	if err != nil {
		return nil, err
	}
	defer fresh.Close()
	if err := fresh.refresh(ctx); err != nil {
		return nil, err
	}
	if generic {
		it.Kind = "of a later version"
	}
	w := &walker{repo: fresh, seen: map[chunk.ID]loss{}, data: func(ctx context.Context, k format.Kind, id chunk.ID, _ int64) error {
		for _, at := range fresh.index.Lookup(id) {
			if _, err := fresh.store.Size(ctx, packObject(at.Session, at.Pack.Hash)); err != nil {
				return damage(packLabel(at.Pack.Hash), err)
			}
		}
		return nil
	}}
	l, err := w.item(ctx, it)
	return slices.Sorted(maps.Keys(l)), err
}

// DirNodes are the nodes below the highest of a directory.
func DirNodes(ctx context.Context, r *Repo, dir *Entry) (ids []chunk.ID) {
	n, err := r.dirNode(ctx, dir.Content.ID)
	if err != nil {
		panic(err)
	}
	for _, c := range n.Children {
		ids = append(ids, c.ID)
	}
	return ids
}

// InMemory tells whether the chunk at a byte of a file is in the cache.
func InMemory(f *File, off int64) bool {
	f = &File{repo: f.repo, kind: f.kind, id: f.id, size: f.size, stored: f.stored, ranges: f.ranges, starts: f.starts}
	if f.starts != nil {
		off -= f.ranges[0].Off - f.starts[0]
	}
	return f.prefetchStored(off, off+1) // there is no token, so that nothing is begun
}

// Named are the snapshots that the leases of a pin name.
func (p *Pin) Named() (ids []string) {
	for _, l := range p.leases {
		for _, id := range l.snapshots {
			ids = append(ids, id.String())
		}
	}
	return ids
}
