package tar

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// Small files are read ahead by several readers, at most ahead of them; with
// files of smallFile bytes that takes 32 MiB.
const (
	readers   = 4
	ahead     = 32
	smallFile = 1 << 20
)

// A piece is an entry that is to become a member.
type piece struct {
	path    string // in the archive
	entry   *repo.Entry
	link    string // the path of the file that this is a hard link to, or ""
	file    *repo.File
	content []byte // of a small file without holes, instead of file
	done    chan struct{}
	err     error
}

// wait waits until a piece is ready.
func (p *piece) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An inode tells hard links.
type inode struct {
	device uint32
	number uint64
}

// A walk goes over a tree.
type walk struct {
	tree     *repo.Tree
	order    chan *piece
	files    chan *piece      // that are to be opened or read
	links    map[inode]string // paths of files with several names
	warnings []string
}

func newWalk(tree *repo.Tree) *walk {
	return &walk{tree: tree, order: make(chan *piece, ahead), files: make(chan *piece, ahead), links: map[inode]string{}}
}

func (w *walk) run(ctx context.Context, dir *repo.Entry) error {
	defer close(w.order)
	defer close(w.files)
	return w.dir(ctx, dir, "./")
}

// dir sends a directory and all that is below it.
func (w *walk) dir(ctx context.Context, dir *repo.Entry, path string) error {
	if err := w.send(ctx, &piece{path: path, entry: dir}); err != nil {
		return err
	}
	for e, err := range w.tree.Entries(ctx, dir, "") {
		if err != nil {
			return fmt.Errorf("the directory %q: %w", path, err)
		}
		if e.IsDir() {
			err = w.dir(ctx, e, path+e.Name+"/")
		} else {
			err = w.file(ctx, e, path+e.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file sends what is no directory.
func (w *walk) file(ctx context.Context, e *repo.Entry, path string) error {
	if e.Mode&unix.S_IFMT == unix.S_IFSOCK {
		w.warnings = append(w.warnings, fmt.Sprintf("%q is left out: it is a socket, which no tar archive can hold", path))
		return nil
	}
	p := &piece{path: path, entry: e}
	if e.Links > 1 && e.Inode != 0 {
		key := inode{e.Device, e.Inode}
		if p.link = w.links[key]; p.link == "" {
			w.links[key] = path
		}
	}
	return w.send(ctx, p)
}

// send hands a piece on, to a reader first if it has content.
func (w *walk) send(ctx context.Context, p *piece) error {
	p.done = make(chan struct{})
	if p.link == "" && p.entry.IsRegular() && p.entry.Content.Size > 0 {
		select {
		case w.files <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	} else {
		close(p.done)
	}
	select {
	case w.order <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read opens files, and reads the small ones.
func (w *walk) read(ctx context.Context) error {
	for p := range w.files {
		if p.err = p.open(ctx, w.tree); p.err != nil {
			p.err = fmt.Errorf("%q: %w", p.path, p.err)
		}
		close(p.done)
	}
	return nil
}

func (p *piece) open(ctx context.Context, tree *repo.Tree) error {
	f, err := tree.Open(ctx, p.entry)
	if err != nil {
		return err
	}
	if f.Size() > smallFile || f.Allocated() < f.Size() {
		p.file = f
		return nil
	}
	p.content = make([]byte, f.Size())
	if n, err := f.ReadAt(p.content, 0); n < len(p.content) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
