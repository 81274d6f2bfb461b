package tar

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"vaultfs/repo"
	"vaultfs/restore"
)

// Options says how a tree is written.
type Options struct {
	Progress *restore.Progress // counts the bytes of data of files; may be nil
}

// A Report tells what was written.
type Report struct {
	Members  int64    // of the archive
	Bytes    int64    // of the archive
	Warnings []string // what an archive cannot hold
}

// Write writes a directory of a tree, with all that is below it, to w. After an
// error what was written has no end mark, so that it cannot be taken for a whole
// archive. The caller keeps the snapshot from being collected.
func Write(ctx context.Context, tree *repo.Tree, dir *repo.Entry, w io.Writer, o Options) (*Report, error) {
	if !dir.IsDir() {
		return nil, errors.New("only a directory can be written as a tar archive")
	}
	if o.Progress == nil {
		o.Progress = new(restore.Progress)
	}
	o.Progress.Total.Add(int64(dir.Below.Bytes))
	out := &writer{w: bufio.NewWriterSize(w, 1<<20), progress: o.Progress, buf: make([]byte, 1<<20)}
	walk := newWalk(tree)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return walk.run(ctx, dir) })
	for range readers {
		g.Go(func() error { return walk.read(ctx) })
	}
	g.Go(func() error {
		for p := range walk.order {
			if err := out.member(ctx, tree, p); err != nil {
				return fmt.Errorf("writing %q to the archive: %w", p.path, err)
			}
		}
		return nil
	})
	err := g.Wait()
	if err == nil {
		err = out.end()
	}
	if err != nil {
		return nil, err
	}
	return &Report{out.members, out.n, walk.warnings}, nil
}

// A writer writes members.
type writer struct {
	w        *bufio.Writer
	progress *restore.Progress
	n        int64 // bytes written
	members  int64
	buf      []byte
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	return n, err
}

// Units of an archive in bytes: a header is a block, and programs write and read
// whole records.
const (
	blockSize  = 512
	recordSize = 20 * blockSize
)

// pad writes zeros up to a multiple of unit.
func (w *writer) pad(unit int64) error {
	_, err := w.Write(make([]byte, (unit-w.n%unit)%unit))
	return err
}

// end writes the end mark.
func (w *writer) end() error {
	_, err := w.Write(make([]byte, 2*blockSize))
	if err == nil {
		err = w.pad(recordSize)
	}
	if err == nil {
		err = w.w.Flush()
	}
	return err
}

// member writes a member.
func (w *writer) member(ctx context.Context, tree *repo.Tree, p *piece) error {
	if err := p.wait(ctx); err != nil {
		return err
	}
	h, err := newHeader(ctx, tree, p)
	if err != nil {
		return err
	}
	if _, err := w.Write(h.encode()); err != nil {
		return err
	}
	w.members++
	if h.size == 0 {
		return nil
	}
	if err := w.content(ctx, p, h); err != nil {
		return err
	}
	return w.pad(blockSize)
}

// content writes the content of a file.
func (w *writer) content(ctx context.Context, p *piece, h *header) error {
	if p.file == nil {
		_, err := w.Write(p.content)
		w.progress.Done.Add(int64(len(p.content)))
		return err
	}
	if _, err := w.Write(h.sparseMap); err != nil {
		return err
	}
	for _, r := range h.runs {
		if err := w.run(ctx, p.file, r); err != nil {
			return err
		}
	}
	w.progress.Done.Add(p.entry.Content.Size - p.file.Allocated()) // the holes
	return nil
}

// run writes a run of data.
func (w *writer) run(ctx context.Context, f *repo.File, r repo.Range) error {
	for r.Len > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := w.buf[:min(r.Len, int64(len(w.buf)))]
		n, err := f.ReadAt(p, r.Off)
		if n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		w.progress.Done.Add(int64(n))
		r.Off, r.Len = r.Off+int64(n), r.Len-int64(n)
	}
	return nil
}

// runs lists the runs of data of a file.
func runs(f *repo.File) (list []repo.Range, err error) {
	for off := int64(0); off < f.Size(); {
		data, err := f.NextData(off)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if off, err = f.NextHole(data); err != nil {
			return nil, err
		}
		list = append(list, repo.Range{Off: data, Len: off - data})
	}
	return list, nil
}

// typeOf is the type of a member.
func typeOf(p *piece) byte {
	if p.link != "" {
		return '1'
	}
	switch p.entry.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return '2'
	case unix.S_IFCHR:
		return '3'
	case unix.S_IFBLK:
		return '4'
	case unix.S_IFDIR:
		return '5'
	case unix.S_IFIFO:
		return '6'
	}
	return '0'
}

// ascii tells whether a name needs no word on how its bytes are to be read.
func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
