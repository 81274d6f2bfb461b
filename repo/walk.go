package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A loss is what cannot be read below a structured chunk: bytes of the item,
// by the object that should hold them.
type loss map[string]*lostObject

// A lostObject tells what is lost because of one object. Of a tree it names the
// first lostPaths of the files, or of the directories that are lost wholly.
type lostObject struct {
	err   error
	bytes int64
	files uint64   // of a tree, that lost bytes or are gone
	paths []string // below the structured chunk
}

// lostPaths bounds the paths that are kept of one object.
const lostPaths = 5

func (l *loss) add(object string, err error, bytes int64) {
	l.addObject(object, &lostObject{err: err, bytes: bytes})
}

func (l *loss) addObject(object string, o *lostObject) {
	if *l == nil {
		*l = loss{}
	}
	have, ok := (*l)[object]
	if !ok {
		have = &lostObject{err: o.err}
		(*l)[object] = have
	}
	have.bytes += o.bytes
	have.files += o.files
	have.paths = append(have.paths, o.paths[:min(len(o.paths), lostPaths-len(have.paths))]...)
}

func (l *loss) addAll(o loss) {
	for object, lost := range o {
		l.addObject(object, lost)
	}
}

// A walker goes through the structure of items down to the place of every
// chunk. What snapshots share it walks once.
type walker struct {
	repo *Repo
	seen map[chunk.ID]loss
	dirs map[chunk.ID]*dirFacts // what is known of the directory nodes
	deep int                    // how many directories the walk is in
	// data is asked about every chunk that a map or a node names.
	data func(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error
	// fetch reads a chunk; nil for the repository's own way.
	fetch func(ctx context.Context, k format.Kind, id chunk.ID) ([]byte, error)
	// bases are disks, by the root of the disk that is walked, whose chunks are
	// known to be stored: data is not asked about them where they are in the
	// same place.
	bases map[chunk.ID]*Disk
}

// first returns the first of the losses, by the objects' names, as an error.
func (l loss) first() error {
	if len(l) == 0 {
		return nil
	}
	object := slices.Min(slices.Collect(maps.Keys(l)))
	return &DamageError{object, l[object].err}
}

// item returns what of an item is lost. The error is of the walk itself.
func (w *walker) item(ctx context.Context, it Item) (loss, error) {
	switch it.Kind {
	case ItemDisk:
		return w.disk(ctx, it)
	case ItemFile:
		return w.stream(ctx, it.Root, -1, it.Size)
	case ItemTree:
		return w.tree(ctx, it)
	}
	return w.generic(ctx, it.Root, it.Size)
}

// once walks a structured chunk if it was not walked before. Bytes is what is
// lost when the chunk itself is.
func (w *walker) once(ctx context.Context, k format.Kind, id chunk.ID, bytes int64, visit func(plain []byte, l *loss) error) (loss, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l, ok := w.seen[id]; ok {
		return l, nil
	}
	var l loss
	err := w.data(ctx, k, id, -1)
	if err == nil {
		var plain []byte
		if plain, err = w.read(ctx, k, id); err == nil {
			err = visit(plain, &l)
		}
	}
	if err = l.take(err, bytes); err != nil {
		return nil, err
	}
	w.seen[id] = l
	return l, nil
}

func (w *walker) read(ctx context.Context, k format.Kind, id chunk.ID) ([]byte, error) {
	if w.fetch != nil {
		return w.fetch(ctx, k, id)
	}
	return w.repo.fetch(ctx, k, id)
}

// take adds what an error says is damaged; any other error it returns.
func (l *loss) take(err error, bytes int64) error {
	if err == nil || !errors.Is(err, ErrDamaged) {
		return err
	}
	object := "structure"
	var d *DamageError
	if errors.As(err, &d) {
		object, err = d.Object, d.Err
	}
	l.add(object, err, bytes)
	return nil
}

// generic walks whatever names its children, also of kinds that this version
// does not know.
func (w *walker) generic(ctx context.Context, id chunk.ID, bytes int64) (loss, error) {
	places := w.repo.index.Lookup(id)
	if len(places) == 0 {
		var l loss
		return l, l.take(w.data(ctx, format.Data, id, -1), bytes)
	}
	k := places[0].Chunk.Kind
	return w.once(ctx, k, id, bytes, func(plain []byte, l *loss) error {
		_, c, _, err := format.DecodeChildren(plain)
		if err != nil {
			return damage(fmt.Sprintf("structure of kind %d", k), err)
		}
		for _, child := range c.Data {
			if err := l.take(w.data(ctx, format.Data, child, -1), 0); err != nil {
				return err
			}
		}
		for _, child := range c.Structured {
			below, err := w.generic(ctx, child, 0)
			if err != nil {
				return err
			}
			l.addAll(below)
		}
		return nil
	})
}

func (w *walker) disk(ctx context.Context, it Item) (loss, error) {
	base := w.bases[it.Root]
	return w.once(ctx, format.DiskRoot, it.Root, it.Size, func(plain []byte, l *loss) error {
		root, err := format.DecodeDisk(plain)
		if err != nil {
			return damage("disk root", err)
		}
		if root.Size != it.Size {
			return &DamageError{"disk root", fmt.Errorf("%d bytes, %d in the manifest", root.Size, it.Size)}
		}
		for i, p := range root.Pages {
			if p.Map.IsZero() {
				continue
			}
			below, err := w.page(ctx, root, i, base)
			if err != nil {
				return err
			}
			l.addAll(below)
		}
		return nil
	})
}

func (w *walker) page(ctx context.Context, root *format.Disk, i int, base *Disk) (loss, error) {
	return w.once(ctx, format.DiskPage, root.Pages[i].Map, int64(root.Pages[i].Grains)*chunk.Grain, func(plain []byte, l *loss) error {
		t, err := decodePage(plain, root, i)
		if err != nil {
			return err
		}
		for n, e := range t {
			if e.Map.IsZero() {
				continue
			}
			below, err := w.segment(ctx, root, e, i*format.PageSegments+n, base)
			if err != nil {
				return err
			}
			l.addAll(below)
		}
		return nil
	})
}

func (w *walker) segment(ctx context.Context, root *format.Disk, e format.Entry, n int, base *Disk) (loss, error) {
	return w.once(ctx, format.DiskMap, e.Map, int64(e.Grains)*chunk.Grain, func(plain []byte, l *loss) error {
		m, err := decodeMap(plain, root.SegmentSize, e, n)
		if err != nil {
			return err
		}
		if base != nil && n < base.Segments() {
			if known, err := base.WasSegment(n); err == nil {
				m = newExtents(m, known)
			}
		}
		for _, x := range m {
			if err := l.take(w.data(ctx, format.Data, x.ID, x.Len), x.Len); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *walker) stream(ctx context.Context, id chunk.ID, level int, size int64) (loss, error) {
	return w.once(ctx, format.Stream, id, size, func(plain []byte, l *loss) error {
		n, err := format.DecodeStreamNode(plain)
		if err != nil {
			return damage("stream node", err)
		}
		if (level >= 0 && n.Level != level) || n.Size() != size {
			return &DamageError{"stream node", fmt.Errorf("%d bytes where %d belong", n.Size(), size)}
		}
		for _, e := range n.Entries {
			if n.Level == 0 {
				err = l.take(w.data(ctx, format.Data, e.ID, e.Len), e.Len)
			} else {
				var below loss
				below, err = w.stream(ctx, e.ID, n.Level-1, e.Len)
				l.addAll(below)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
