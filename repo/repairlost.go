package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A Loss is what of one item, or of one file of a tree, cannot be read.
type Loss struct {
	Snapshot *Snapshot
	Item     string
	// Path is that of a file in a tree. One that ends in a slash is of a
	// directory of which entries are gone; "./" is the tree itself.
	Path string
	// Ranges are bytes of the disk or file, in order and merged; holes in them
	// are not lost. There are none of a directory.
	Ranges []Range
	Bytes  int64  // of data in them, as far as that is known
	Detail string // what else there is to say: "the extended attribute user.x"
	// Structure tells that a map, a list of chunks or a part of a directory is
	// lost: what else it names is not known, so that a collector removes nothing.
	Structure bool
}

// tell says what is lost, and what is damaged, now.
func (p *repair) tell(ctx context.Context) error {
	p.result.After = p.result.Before
	if !p.options.DryRun {
		var err error
		if p.result.After, err = p.verify(ctx, false); err != nil {
			return err
		}
		if err := p.findSuspects(ctx); err != nil {
			return err
		}
	}
	touched := slices.ContainsFunc(p.result.After, func(f Finding) bool { return len(f.Touches) > 0 })
	if len(p.suspects) == 0 && !touched {
		return nil // verify has walked everything, and missed nothing
	}
	c := lossList{result: p.result}
	return p.eachLost(ctx, func(s *Snapshot, it Item, l *lostChunk) error {
		c.add(s, it, l)
		return nil
	})
}

// pinned lists the snapshots and keeps them from being collected.
func (p *repair) pinned(ctx context.Context) ([]*Snapshot, *Pin, error) {
	for {
		all, err := p.repo.Snapshots(ctx)
		for _, err := range split(err) {
			if !isDamage(err) {
				return nil, nil, err
			}
		}
		pin, err := p.repo.Pin(ctx, purposeSetAside, all...)
		if !errors.Is(err, ErrNotFound) {
			return all, pin, err
		}
		// One was forgotten meanwhile: it is not in the next list.
		if err := pin.Release(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// eachLost calls fn for every chunk that a snapshot needs and that cannot be
// read, as often as it is needed.
func (p *repair) eachLost(ctx context.Context, fn func(*Snapshot, Item, *lostChunk) error) error {
	all, pin, err := p.pinned(ctx)
	if err != nil {
		return err
	}
	defer pin.Release(context.WithoutCancel(ctx))
	if err := p.repo.refresh(ctx); err != nil {
		return err
	}
	f := &lostFinder{repo: p.repo, places: p.places, clean: p.clean}
	for i, s := range all {
		p.count("looking for what is lost: snapshot", i, len(all))
		for _, it := range s.Items {
			f.lost = func(l *lostChunk) error { return fn(s, it, l) }
			if _, err := f.item(ctx, it); err != nil {
				return fmt.Errorf("snapshot %s: %w", s.Short(), err)
			}
		}
	}
	return nil
}

// A lossList puts losses together.
type lossList struct {
	result *RepairResult
	last   *Loss
	key    string // of last
}

func (c *lossList) add(s *Snapshot, it Item, l *lostChunk) {
	key := s.ID + "/" + it.Name + "\x00" + l.path
	if c.last == nil || c.key != key {
		c.result.Losses = append(c.result.Losses, Loss{Snapshot: s, Item: it.Name, Path: l.path})
		c.last, c.key = &c.result.Losses[len(c.result.Losses)-1], key
	}
	c.last.Bytes += l.bytes
	c.last.Structure = c.last.Structure || l.kind.Structured()
	for _, r := range l.shown(it) {
		n := len(c.last.Ranges)
		if n > 0 && c.last.Ranges[n-1].Off+c.last.Ranges[n-1].Len == r.Off {
			c.last.Ranges[n-1].Len += r.Len
			continue
		}
		c.last.Ranges = append(c.last.Ranges, r)
	}
	switch {
	case l.detail == "":
	case c.last.Detail == "":
		c.last.Detail = l.detail
	default:
		c.last.Detail += "; " + l.detail
	}
}

// A lostChunk is a chunk that cannot be read, and what of an item is lost with it.
type lostChunk struct {
	kind format.Kind
	id   chunk.ID
	// Of a tree: the path of the file or directory, as in Loss, and its entry;
	// nil for the tree's root.
	path  string
	entry *Entry
	// part is which part of the entry the chunk is; xattr the attribute's place.
	part  lostPart
	xattr int
	// off and n are bytes of the disk or of what is stored of a stream or file.
	off, n int64
	bytes  int64   // of data
	ranges []Range // of a file with holes, its data
	detail string
}

type lostPart int

const (
	lostContent lostPart = iota // bytes, or a map or node that names them
	lostRanges                  // the list of the runs of data of a file with holes
	lostXattr
	lostEntries // a node of a directory
)

// shown are the bytes of the disk or file that are lost.
func (l *lostChunk) shown(it Item) []Range {
	switch {
	case l.part == lostXattr || l.part == lostEntries:
		return nil
	case l.part == lostRanges:
		return []Range{{Off: 0, Len: l.entry.Content.Size}}
	case l.ranges != nil:
		return rangesAt(l.ranges, l.off, l.n)
	case it.Kind == ItemDisk:
		return []Range{{Off: l.off, Len: min(l.n, it.Size-l.off)}} // the last chunk may reach beyond the end
	}
	return []Range{{Off: l.off, Len: l.n}}
}

// rangesAt are the bytes of a file with holes that are stored from byte off on.
func rangesAt(ranges []Range, off, n int64) (found []Range) {
	for _, r := range ranges {
		begin, end := max(off, 0), min(off+n, r.Len)
		if begin < end {
			found = append(found, Range{Off: r.Off + begin, Len: end - begin})
		}
		off -= r.Len
	}
	return found
}

// A lostFinder goes through items and finds the chunks that cannot be read. What it
// has found to be whole it does not go through again.
type lostFinder struct {
	repo   *Repo
	places *suspectPlaces
	clean  map[chunk.ID]struct{} // structured chunks below which nothing is lost
	lost   func(*lostChunk) error
	deep   int
}

// has tells whether a chunk has a good place.
func (f *lostFinder) has(k format.Kind, id chunk.ID, plain int64) bool {
	for _, at := range f.repo.index.Lookup(id) {
		if at.Chunk.Kind == k && (plain < 0 || int64(at.Chunk.Plain) == plain) && f.places.good(at) {
			return true
		}
	}
	return false
}

// data looks for a chunk without children.
func (f *lostFinder) data(l lostChunk, plain int64) (whole bool, err error) {
	l.kind = format.Data
	if f.has(format.Data, l.id, plain) {
		return true, nil
	}
	return false, f.lost(&l)
}

// structured visits a structured chunk, or tells of it if it cannot be read.
// visit tells whether all below is whole.
func (f *lostFinder) structured(ctx context.Context, l lostChunk, visit func(plain []byte) (whole bool, err error)) (bool, error) {
	if _, ok := f.clean[l.id]; ok {
		return true, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err := error(&DamageError{"chunk " + l.id.String()[:16], errors.New("no pack holds it")})
	whole := false
	if f.has(l.kind, l.id, -1) {
		var plain []byte
		if plain, err = f.repo.fetch(ctx, l.kind, l.id); err == nil {
			whole, err = visit(plain)
		}
	}
	switch {
	case errors.Is(err, ErrDamaged):
		return false, f.lost(&l)
	case err == nil && whole:
		f.clean[l.id] = struct{}{}
	}
	return whole, err
}

// item finds what is lost of an item.
func (f *lostFinder) item(ctx context.Context, it Item) (whole bool, err error) {
	switch it.Kind {
	case ItemDisk:
		return f.disk(ctx, it)
	case ItemFile:
		return f.stream(ctx, lostChunk{id: it.Root, n: it.Size, bytes: it.Size}, -1)
	case ItemTree:
		return f.tree(ctx, it)
	}
	return f.generic(ctx, it)
}

func (f *lostFinder) disk(ctx context.Context, it Item) (bool, error) {
	return f.structured(ctx, lostChunk{kind: format.DiskRoot, id: it.Root, n: it.Size, bytes: it.Size}, func(plain []byte) (bool, error) {
		root, err := format.DecodeDisk(plain)
		if err == nil && root.Size != it.Size {
			err = fmt.Errorf("%w: %d bytes, %d in the manifest", ErrDamaged, root.Size, it.Size)
		}
		if err != nil {
			return false, err
		}
		all := true
		for i, e := range root.Pages {
			whole, err := f.page(ctx, root, i, e)
			if err != nil {
				return false, err
			}
			all = all && whole
		}
		return all, nil
	})
}

func (f *lostFinder) page(ctx context.Context, root *format.Disk, i int, e format.Entry) (bool, error) {
	if e.Map.IsZero() {
		return true, nil
	}
	span := root.SegmentSize * format.PageSegments
	l := lostChunk{kind: format.DiskPage, id: e.Map, off: int64(i) * span, n: min(span, root.Size-int64(i)*span), bytes: int64(e.Grains) * chunk.Grain}
	return f.structured(ctx, l, func(plain []byte) (bool, error) {
		t, err := decodePage(plain, root, i)
		if err != nil {
			return false, err
		}
		all := true
		for n, e := range t {
			whole, err := f.segment(ctx, root, e, i*format.PageSegments+n)
			if err != nil {
				return false, err
			}
			all = all && whole
		}
		return all, nil
	})
}

func (f *lostFinder) segment(ctx context.Context, root *format.Disk, e format.Entry, n int) (bool, error) {
	if e.Map.IsZero() {
		return true, nil
	}
	start := int64(n) * root.SegmentSize
	l := lostChunk{kind: format.DiskMap, id: e.Map, off: start, n: min(root.SegmentSize, root.Size-start), bytes: int64(e.Grains) * chunk.Grain}
	return f.structured(ctx, l, func(plain []byte) (bool, error) {
		m, err := decodeMap(plain, root.SegmentSize, e, n)
		if err != nil {
			return false, err
		}
		all := true
		for _, x := range m {
			whole, err := f.data(lostChunk{id: x.ID, off: start + x.Off, n: x.Len, bytes: x.Len}, x.Len)
			if err != nil {
				return false, err
			}
			all = all && whole
		}
		return all, nil
	})
}

// stream finds what is lost below a node of a stream; l says what is lost if it
// is the node itself.
func (f *lostFinder) stream(ctx context.Context, l lostChunk, level int) (bool, error) {
	l.kind = format.Stream
	return f.structured(ctx, l, func(plain []byte) (bool, error) {
		n, err := format.DecodeStreamNode(plain)
		if err == nil && (level >= 0 && n.Level != level || n.Size() != l.n) {
			err = fmt.Errorf("%w: %d bytes where %d belong", ErrDamaged, n.Size(), l.n)
		}
		if err != nil {
			return false, err
		}
		all, off := true, l.off
		for _, e := range n.Entries {
			below := l
			below.id, below.off, below.n, below.bytes = e.ID, off, e.Len, e.Len
			off += e.Len
			var whole bool
			if n.Level == 0 {
				whole, err = f.data(below, e.Len)
			} else {
				whole, err = f.stream(ctx, below, n.Level-1)
			}
			if err != nil {
				return false, err
			}
			all = all && whole
		}
		return all, nil
	})
}

// generic goes through whatever names its children, of a kind that this version
// does not know.
func (f *lostFinder) generic(ctx context.Context, it Item) (bool, error) {
	w := &walker{repo: f.repo, seen: map[chunk.ID]loss{}, data: func(_ context.Context, k format.Kind, id chunk.ID, plain int64) error {
		if slices.ContainsFunc(f.repo.index.Lookup(id), f.places.good) {
			return nil
		}
		return &DamageError{"chunk " + id.String()[:16], errors.New("no pack holds it")}
	}}
	lost, err := w.generic(ctx, it.Root, it.Size)
	if err != nil || len(lost) == 0 {
		return err == nil, err
	}
	return false, f.lost(&lostChunk{kind: format.DiskRoot, id: it.Root, n: it.Size, detail: "which bytes of it is not known to this version"})
}
