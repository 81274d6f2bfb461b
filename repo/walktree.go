package repo

import (
	"context"
	"fmt"
	"strings"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// MaxTreeDepth is how many directories may lie one in the other. A tree that is
// deeper cannot be committed. No path that the kernel takes has more than 2048
// names, but who changes into one directory after the other can make more; a
// walk of as many as these takes about 170 MB of memory.
const MaxTreeDepth = 1 << 15

// maxDepth is MaxTreeDepth; tests lower it.
var maxDepth = MaxTreeDepth

// dirFacts are what a node of a directory tells of itself and of all nodes
// below it.
type dirFacts struct {
	dirSpan
	last  string // name
	below Totals
	// lostIn is the object for which a node, this one or one below, cannot be
	// read; "" if all can. What is in such a node is not counted.
	lostIn string
}

// tree walks a tree, from its root.
func (w *walker) tree(ctx context.Context, it Item) (loss, error) {
	return w.once(ctx, format.Directory, it.Root, it.Size, func(plain []byte, l *loss) error {
		root, err := decodeTreeRoot(plain, it)
		if err != nil {
			return damage("root of a tree", err)
		}
		return w.entry(ctx, root, l)
	})
}

// entry walks what an entry names, and adds what of it is lost, under the
// entry's name.
func (w *walker) entry(ctx context.Context, e *Entry, l *loss) error {
	var content loss
	var err error
	switch {
	case e.IsDir():
		content, err = w.directory(ctx, e)
	case e.IsRegular():
		content, err = w.content(ctx, e.Content)
	}
	if err != nil {
		return err
	}
	xattrs, err := w.xattrs(ctx, e.Xattrs)
	if err != nil || len(content)+len(xattrs) == 0 {
		return err
	}
	var all loss
	all.addAll(content)
	all.addAll(xattrs)
	for object, o := range all {
		l.addObject(object, o.of(e))
	}
	return nil
}

// of is the loss of what an entry names as the directory sees it.
func (o *lostObject) of(e *Entry) *lostObject {
	if !e.IsDir() {
		return &lostObject{o.err, o.bytes, 1, []string{e.Name}}
	}
	named := &lostObject{err: o.err, bytes: o.bytes, files: o.files}
	paths := o.paths
	if len(paths) == 0 {
		paths = []string{""}
	}
	for _, p := range paths {
		if e.Name != "" {
			p = e.Name + "/" + p
		}
		named.paths = append(named.paths, p)
	}
	return named
}

// xattrs walks the extended attributes of an entry.
func (w *walker) xattrs(ctx context.Context, xattrs []Xattr) (l loss, err error) {
	for _, x := range xattrs {
		if x.Chunk.IsZero() {
			continue
		}
		if err := l.take(w.data(ctx, format.Data, x.Chunk, int64(x.Size)), int64(x.Size)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// content walks the bytes of a file.
func (w *walker) content(ctx context.Context, c Content) (l loss, err error) {
	stored := c.Size
	if !c.Ranges.IsZero() {
		if stored, err = w.ranges(ctx, c); err != nil {
			return l, l.take(err, c.Size)
		}
	}
	switch c.Kind {
	case format.ChunkContent:
		err = l.take(w.data(ctx, format.Data, c.ID, stored), stored)
		return l, err
	case format.StreamContent:
		return w.stream(ctx, c.ID, -1, stored)
	}
	return nil, nil
}

// ranges reads the list of the runs of data of a file, and tells how many bytes
// these have.
func (w *walker) ranges(ctx context.Context, c Content) (stored int64, err error) {
	if err := w.data(ctx, format.Data, c.Ranges, -1); err != nil {
		return 0, err
	}
	b, err := w.read(ctx, format.Data, c.Ranges)
	if err != nil {
		return 0, err
	}
	_, stored, err = format.DecodeRanges(b, c.Size)
	if err == nil && (c.Kind == format.NoContent) != (stored == 0) {
		err = fmt.Errorf("%w: %d bytes of data in a file with content of kind %d", ErrDamaged, stored, c.Kind)
	}
	return stored, damage("runs of data", err)
}

// directory walks all entries of a directory and compares their totals with
// what its own entry says. Where nodes are lost, that alone tells how much was
// in them.
func (w *walker) directory(ctx context.Context, dir *Entry) (loss, error) {
	if w.deep++; w.deep > maxDepth {
		w.deep--
		var l loss
		l.add(dirLabel(dir.Content.ID), fmt.Errorf("it lies in more than %d directories, one in the other", maxDepth), int64(dir.Below.Bytes))
		return l, nil
	}
	defer func() { w.deep-- }()
	l, facts, err := w.dirNode(ctx, dir.Content.ID)
	if err != nil || (facts.lostIn == "" && facts.below == dir.Below) {
		return l, err
	}
	var own loss // l is of the node, which several directories may have
	own.addAll(l)
	if facts.lostIn == "" {
		err := fmt.Errorf("what is in it adds up to %+v, its entry says %+v", facts.below, dir.Below)
		own.add(dirLabel(dir.Content.ID), err, 0)
		return own, nil
	}
	own.addObject(facts.lostIn, &lostObject{
		bytes: int64(dir.Below.Bytes - min(dir.Below.Bytes, facts.below.Bytes)),
		files: dir.Below.Files - min(dir.Below.Files, facts.below.Files),
		paths: []string{""},
	})
	return own, nil
}

// dirNode walks a node of a directory, and all that is below it.
func (w *walker) dirNode(ctx context.Context, id chunk.ID) (loss, *dirFacts, error) {
	var facts *dirFacts
	l, err := w.once(ctx, format.Directory, id, 0, func(plain []byte, l *loss) error {
		n, err := format.DecodeDirNode(plain)
		if err != nil {
			return damage(dirLabel(id), err)
		}
		read := &dirFacts{dirSpan: spanOf(n)}
		read.First = strings.Clone(read.First) // the node goes, this stays
		if err = w.dirEntries(ctx, n, read, l); err == nil {
			facts = read
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if known, ok := w.dirs[id]; ok {
		return l, known, nil
	}
	if facts == nil {
		facts = &dirFacts{}
		for facts.lostIn = range l { // there is one: that for which it cannot be read
		}
	}
	if w.dirs == nil {
		w.dirs = map[chunk.ID]*dirFacts{}
	}
	w.dirs[id] = facts
	return l, facts, nil
}

// dirEntries walks what a node of a directory names.
func (w *walker) dirEntries(ctx context.Context, n *format.DirNode, facts *dirFacts, l *loss) error {
	for i := range n.Entries {
		e := &n.Entries[i]
		if err := w.entry(ctx, e, l); err != nil {
			return err
		}
		facts.below.Add(e)
	}
	if len(n.Entries) > 0 {
		facts.last = strings.Clone(n.Entries[len(n.Entries)-1].Name)
	}
	for _, c := range n.Children {
		below, child, err := w.dirNode(ctx, c.ID)
		if err != nil {
			return err
		}
		l.addAll(below)
		facts.addChild(n.Level, c, child, l)
	}
	return nil
}

// addChild adds what is known of a node to what is known of the one above it,
// of a level, which says c of it.
func (f *dirFacts) addChild(level int, c format.DirChild, child *dirFacts, l *loss) {
	err := child.check(level, c)
	if err == nil && c.First <= f.last {
		err = fmt.Errorf("its first name, %q, does not come after %q", c.First, f.last)
	}
	switch {
	case child.lostIn != "":
		f.lostIn = child.lostIn
	case err != nil:
		f.lostIn = dirLabel(c.ID)
		l.add(f.lostIn, err, 0)
		return
	}
	f.last = max(f.last, child.last)
	f.below.AddTotals(child.below)
}
