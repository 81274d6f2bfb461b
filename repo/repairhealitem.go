package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// errDonor says that it was the other repository which could not give something.
var errDonor = errors.New("nothing to heal from")

// A healer reads the places of one item that are lost in the same item of
// another repository, and puts them with the usual writers. The session stores only
// what is lost.
type healer struct {
	session *Session
	from    *Repo
	finder  *lostFinder
	lane    *Lane
}

func donorError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errDonor, err)
}

func (h *healer) item(ctx context.Context, it, donor Item) error {
	switch it.Kind {
	case ItemDisk:
		return h.disk(ctx, it, donor)
	case ItemFile:
		return h.stream(ctx, it, donor)
	case ItemTree:
		return h.tree(ctx, it, donor)
	}
	return nil
}

// put puts a data chunk that was read elsewhere.
func (h *healer) put(ctx context.Context, plain []byte) error {
	_, err := h.lane.Put(ctx, plain)
	return err
}

// disk heals a disk. Lost data is read where it was; of a lost map the segment is
// cut again, and of a lost page or root the whole disk.
func (h *healer) disk(ctx context.Context, it, donor Item) error {
	d, err := h.from.OpenDisk(ctx, donor)
	if err != nil {
		return donorError(err)
	}
	segments, whole := map[int64]bool{}, false
	size := h.session.repo.SegmentSize()
	h.finder.lost = func(l *lostChunk) error {
		switch l.kind {
		case format.Data:
			plain := make([]byte, l.n) // zeros, beyond the end of the disk
			if _, err := d.ReadAt(plain, l.off); err != nil && err != io.EOF {
				return nil // damaged there as well
			}
			return h.put(ctx, plain)
		case format.DiskMap:
			segments[l.off/size] = true
		default:
			whole = true
		}
		return nil
	}
	if _, err := h.finder.disk(ctx, it); err != nil {
		return err
	}
	w := h.session.NewDisk()
	for i := int64(0); i*size < it.Size; i++ {
		if !whole && !segments[i] {
			continue
		}
		if err := h.segment(ctx, w, d, i); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	_, err = w.Finish(ctx, h.lane, it.Size)
	return err
}

// segment cuts a segment of a disk and puts its map and its chunks. Each run of
// data is cut by itself: between two there is a grain of zeros, at which the cutter
// begins afresh.
func (h *healer) segment(ctx context.Context, w *DiskWriter, d *Disk, i int64) error {
	size := h.session.repo.SegmentSize()
	start, end := i*size, min((i+1)*size, d.Size())
	var m SegmentMap
	for off := start; off < end; {
		begin, err := d.NextData(off)
		if err == io.EOF || err == nil && begin >= end {
			break
		}
		if err == nil {
			off, err = d.NextHole(begin)
		}
		if err != nil {
			return donorError(err)
		}
		off = min(off, end)
		p := make([]byte, (off-begin+chunk.Grain-1)/chunk.Grain*chunk.Grain)
		if _, err := d.ReadAt(p, begin); err != nil && err != io.EOF {
			return donorError(err)
		}
		if m, err = h.cut(ctx, m, p, begin-start); err != nil {
			return err
		}
	}
	return w.SetSegment(ctx, h.lane, i, m)
}

// cut puts the chunks of a run of data that begins at byte at of a segment, and
// appends them to its map.
func (h *healer) cut(ctx context.Context, m SegmentMap, p []byte, at int64) (SegmentMap, error) {
	cutter := h.session.repo.DiskCutter()
	for len(p) > 0 {
		zeros, n := cutter.Next(p, true)
		if at, p = at+int64(zeros), p[zeros:]; n == 0 {
			break
		}
		id, err := h.lane.Put(ctx, p[:n])
		if err != nil {
			return nil, err
		}
		m = append(m, Extent{Off: at, Len: int64(n), ID: id})
		at, p = at+int64(n), p[n:]
	}
	return m, nil
}

// stream heals a stream. Of a lost node the whole stream is cut again.
func (h *healer) stream(ctx context.Context, it, donor Item) error {
	f, err := h.from.OpenFile(ctx, donor)
	if err != nil {
		return donorError(err)
	}
	whole := false
	h.finder.lost = func(l *lostChunk) error {
		if l.kind != format.Data {
			whole = true
			return nil
		}
		plain := make([]byte, l.n)
		if _, err := f.ReadAt(plain, l.off); err != nil && err != io.EOF {
			return nil
		}
		return h.put(ctx, plain)
	}
	if _, err := h.finder.item(ctx, it); err != nil || !whole {
		return err
	}
	_, _, err = h.session.PutStream(ctx, donorReader{io.NewSectionReader(f, 0, f.Size())})
	return err
}

// A donorReader tells an error of the other repository from one of this.
type donorReader struct{ io.Reader }

func (r donorReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = donorError(err)
	}
	return n, err
}

// tree heals a tree. Lost bytes of a file are read where they were; of a lost node
// of a stream the file is cut again, and of a lost node of a directory all that
// is below the directory.
func (h *healer) tree(ctx context.Context, it, donor Item) error {
	t, err := h.from.OpenTree(ctx, donor)
	if err != nil {
		return donorError(err)
	}
	var again []string // files and directories that are to be put as a whole
	h.finder.lost = func(l *lostChunk) error {
		path := strings.TrimSuffix(strings.TrimSuffix(l.path, "/"), ".")
		if l.part == lostEntries || l.kind == format.Stream {
			if n := len(again); n == 0 || again[n-1] != path {
				again = append(again, path)
			}
			return nil
		}
		e, err := t.Find(ctx, path)
		if err != nil {
			return nil // it was not there at that time, or is damaged there as well
		}
		return h.part(ctx, t, e, l)
	}
	if _, err := h.finder.tree(ctx, it); err != nil {
		return err
	}
	for _, path := range again {
		e, err := t.Find(ctx, path)
		if err != nil {
			continue
		}
		made, err := h.entry(ctx, t, e, 0)
		if err == nil && path == "" {
			_, err = h.session.PutTree(ctx, made)
		}
		if err != nil && (!errors.Is(err, errDonor) || h.session.ctx.Err() != nil) {
			return err
		}
	}
	return nil
}

// part puts one chunk of a file or of an attribute.
func (h *healer) part(ctx context.Context, t *Tree, e *Entry, l *lostChunk) error {
	if l.part == lostXattr {
		name := l.entry.Xattrs[l.xattr].Name
		for i := range e.Xattrs {
			if e.Xattrs[i].Name != name {
				continue
			}
			if value, err := t.Xattr(ctx, &e.Xattrs[i]); err == nil && len(value) > 0 {
				return h.put(ctx, value)
			}
		}
		return nil
	}
	f, err := t.Open(ctx, e)
	if err != nil {
		return nil
	}
	if l.part == lostRanges {
		if f.starts == nil {
			return nil
		}
		return h.put(ctx, format.EncodeRanges(f.ranges))
	}
	plain, err := readRanges(f, l)
	if err != nil || len(plain) == 0 {
		return nil
	}
	return h.put(ctx, plain)
}

// readRanges reads what a lost chunk of a file held, in another file.
func readRanges(f *File, l *lostChunk) (plain []byte, err error) {
	ranges := []Range{{Off: l.off, Len: l.n}}
	if l.ranges != nil {
		ranges = rangesAt(l.ranges, l.off, l.n)
	}
	for _, r := range ranges {
		part := make([]byte, r.Len)
		if _, err := f.ReadAt(part, r.Off); err != nil && err != io.EOF {
			return nil, err
		}
		plain = append(plain, part...)
	}
	return plain, nil
}

// entry puts what an entry of another tree names, and returns the entry as it
// is here.
func (h *healer) entry(ctx context.Context, t *Tree, e *Entry, depth int) (*Entry, error) {
	if depth > maxDepth {
		return nil, donorError(fmt.Errorf("more than %d directories, one in the other", maxDepth))
	}
	made := *e
	made.Content, made.Below, made.Xattrs = Content{}, Totals{}, nil
	w := h.session.NewFileWriter()
	for i := range e.Xattrs {
		value, err := t.Xattr(ctx, &e.Xattrs[i])
		if err != nil {
			return nil, donorError(err)
		}
		x, err := w.PutXattr(ctx, e.Xattrs[i].Name, value)
		if err != nil {
			return nil, err
		}
		made.Xattrs = append(made.Xattrs, x)
	}
	switch {
	case e.IsDir():
		return &made, h.directory(ctx, t, e, &made, depth)
	case e.IsRegular():
		return &made, h.file(ctx, w, t, e, &made)
	}
	return &made, nil
}

func (h *healer) directory(ctx context.Context, t *Tree, e, made *Entry, depth int) error {
	w := h.session.NewDir()
	for below, err := range t.Entries(ctx, e, "") {
		if err != nil {
			return donorError(err)
		}
		child, err := h.entry(ctx, t, below, depth+1)
		if err != nil {
			return err
		}
		if err := w.Add(ctx, child); err != nil {
			return err
		}
	}
	return w.Finish(ctx, made)
}

func (h *healer) file(ctx context.Context, w *FileWriter, t *Tree, e, made *Entry) (err error) {
	f, err := t.Open(ctx, e)
	if err != nil {
		return donorError(err)
	}
	if f.starts == nil {
		made.Content, err = w.Put(ctx, donorReader{io.NewSectionReader(f, 0, f.Size())})
		return err
	}
	readers := make([]io.Reader, len(f.ranges))
	for i, r := range f.ranges {
		readers[i] = io.NewSectionReader(f, r.Off, r.Len)
	}
	if len(readers) == 0 {
		readers = []io.Reader{bytes.NewReader(nil)}
	}
	made.Content, err = w.PutSparse(ctx, donorReader{io.MultiReader(readers...)}, f.Size(), f.ranges)
	return err
}
