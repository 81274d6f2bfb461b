package tree

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// jobsAhead is how many files may wait for a reader. Each keeps its directory
// open.
const jobsAhead = 64

// readers is how many files are read at once: one more than there are
// processors, so that they have work while a disk is waited for.
func readers() int { return max(2, min(runtime.GOMAXPROCS(0)+1, 4)) }

// A job is a file that is to be read.
type job struct {
	dir    *directory
	handle *handle
	slot   *slot
	was    *repo.Entry // of the previous snapshot, or nil
	key    inode
	shared bool // others of its names may wait for it in walk.links
	// counted are the bytes that were read and shown as progress.
	counted int64
}

// A reader reads files, one after the other.
type reader struct {
	w          *walk
	writer     *repo.FileWriter
	attributes *attributes
}

func newReader(w *walk) *reader {
	writer := w.session.NewFileWriter()
	return &reader{w, writer, newAttributes(writer)}
}

func (r *reader) work(ctx context.Context) error {
	for {
		select {
		case j, more := <-r.w.jobs:
			if !more {
				return nil
			}
			if err := r.do(ctx, j); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// do reads a file, and gives what was read to all of its names. Where one name
// has vanished the next is tried; one that shows another state is read, too.
func (r *reader) do(ctx context.Context, j *job) error {
	todo := []*job{j}
	defer func() {
		for _, left := range todo { // after an error
			left.handle.release()
		}
	}()
	for len(todo) > 0 {
		j, todo = todo[0], todo[1:]
		content, ok, err := r.file(ctx, j)
		if err != nil {
			j.handle.release()
			return err
		}
		if j.shared {
			e := j.slot.entry
			whole := ok && e.IsRegular() && j.key == inode{e.Device, e.Inode}
			read := linkedBy(e, content)
			for _, other := range r.w.links.settle(j, content, whole) {
				if whole && read.of(other.slot.entry) {
					if err := r.w.stored(ctx, other, content); err != nil {
						return err
					}
					continue
				}
				other.shared = !whole
				todo = append(todo, other)
			}
		}
		if ok {
			err = r.w.stored(ctx, j, content)
		} else {
			err = r.w.leftOut(ctx, j)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stored says that the content of a file is stored.
func (w *walk) stored(ctx context.Context, j *job, c repo.Content) error {
	j.handle.release()
	e := j.slot.entry
	if e.IsRegular() {
		e.Content = c
		w.counts.file(e, j.was)
	}
	w.o.Progress.Done.Add(c.Size - j.counted)
	return j.dir.settle(ctx, j.slot, true)
}

// leftOut says that there is no content of a file.
func (w *walk) leftOut(ctx context.Context, j *job) error {
	j.handle.release()
	w.o.Progress.Done.Add(j.slot.entry.Content.Size - j.counted)
	return j.dir.settle(ctx, j.slot, false)
}

// tries is how often a file is read that changes while it is read.
const tries = 2

// file reads a file. If its name has come to stand for something else that can
// be stored, the entry says so. An error is one of the repository.
func (r *reader) file(ctx context.Context, j *job) (c repo.Content, ok bool, err error) {
	path := func() string { return j.dir.path(j.slot.entry.Name) }
	for try := range tries {
		var state state
		c, state, err = r.once(ctx, j)
		switch {
		case errors.Is(err, errReplaced):
			if ok, err = r.replaced(ctx, j); err != nil || ok || try == tries-1 {
				if err == nil && !ok {
					r.w.missing(path(), errReplaced)
				}
				return repo.Content{}, ok, err
			}
			continue
		case state == unreadable:
			r.w.missing(path(), err)
			return repo.Content{}, false, nil
		case err != nil || state == steady:
			return c, err == nil, err
		}
	}
	r.w.unread(path(), "changed while it was read: it is kept as it was read, which may mix two states")
	return c, true, nil
}

// A state is what became of the source while it was read.
type state int

const (
	steady state = iota
	changed
	unreadable
)

// once reads a file once. Its entry is as the file was before.
func (r *reader) once(ctx context.Context, j *job) (c repo.Content, s state, err error) {
	name := j.slot.entry.Name
	fd, before, err := openFile(j.handle.fd, name)
	if err != nil {
		return c, unreadable, err
	}
	defer unix.Close(fd)
	if err := r.look(ctx, j, &before); err != nil {
		return c, steady, err
	}
	c, short, source, err := r.store(ctx, j, fd, &before)
	if source != nil {
		return c, unreadable, source
	}
	if err != nil {
		return c, steady, err
	}
	var after unix.Stat_t
	if err := again(func() error { return unix.Fstat(fd, &after) }); err != nil {
		return c, unreadable, err
	}
	if short || c.Size != before.Size || !sameFile(&before, &after) {
		return c, changed, nil
	}
	return c, steady, nil
}

// look brings the entry up to date with the file that has been opened.
func (r *reader) look(ctx context.Context, j *job, st *unix.Stat_t) error {
	old := j.slot.entry
	now := entryOf(old.Name, st, r.w.devices.number(st.Dev))
	now.Xattrs = old.Xattrs
	if now.Ctime != old.Ctime || now.Inode != old.Inode {
		var err error
		if now.Xattrs, err = r.w.xattrs(ctx, r.attributes, j.dir, old.Name); err != nil {
			return err
		}
	}
	*old = *now
	return nil
}

// store stores the content of an open file: what lay in it before, and what it
// has gained since not. A failure to read it is told apart from one to store it.
func (r *reader) store(ctx context.Context, j *job, fd int, st *unix.Stat_t) (c repo.Content, short bool, source, err error) {
	p := &portion{fd: fd, count: func(n int) {
		j.counted += int64(n)
		r.w.o.Progress.Done.Add(int64(n))
		r.w.o.onRead(r.w.o.Progress.Read.Add(int64(n)))
	}}
	if st.Size == 0 {
		return repo.Content{}, false, nil, nil
	}
	if mayHaveHoles(st) {
		ranges, filled, err := dataRanges(fd, st.Size, repo.MaxRanges)
		if err != nil {
			return c, false, err, nil
		}
		if filled > 0 {
			r.w.remarks.note("%q has more holes than can be told apart: the %d smallest are stored as zeros", r.w.full(j.dir.path(j.slot.entry.Name)), filled)
		}
		if len(ranges) != 1 || ranges[0].Len != st.Size {
			sparse := &rangeReader{portion: *p, rest: ranges}
			c, err = r.writer.PutSparse(ctx, sparse, st.Size, ranges)
			return c, sparse.short, sparse.failed, err
		}
	}
	p.left = st.Size
	c, err = r.writer.Put(ctx, p)
	return c, false, p.failed, err
}

// replaced makes the entry of what has come to stand where a file was.
func (r *reader) replaced(ctx context.Context, j *job) (ok bool, err error) {
	name := j.slot.entry.Name
	st, err := lookAt(j.handle.fd, name)
	if err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Mode&unix.S_IFMT == unix.S_IFREG {
		return false, nil
	}
	e, err := r.w.describe(ctx, r.attributes, j.dir, name, &st)
	if err != nil || e == nil {
		return false, err
	}
	*j.slot.entry = *e
	return true, nil
}
