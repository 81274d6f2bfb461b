package bench

import (
	"bytes"
	"context"
	"fmt"

	"vaultfs/repo"
)

// The tree of a source is directories of so many files, each of one chunk.
const filesPerDir = 1000

// storeTree stores the next state of a tree. As when a real one is backed up,
// every directory is made again, and stored if it has changed.
func (s *source) storeTree(ctx context.Context, to *repo.Session) error {
	t := treeMaker{source: s, to: to, files: to.NewFileWriter(), noise: make([]byte, s.Noise)}
	top := to.NewDir()
	var err error
	if s.base == nil {
		err = t.full(ctx, top)
	} else {
		err = t.increment(ctx, top)
	}
	if err != nil {
		return err
	}
	root := repo.Entry{Mode: dirMode}
	if err := top.Finish(ctx, &root); err != nil {
		return err
	}
	_, err = to.AddTree(ctx, repo.WholeTree, &root)
	return err
}

// Types and permissions as stat(2) has them.
const (
	dirMode  = 0o040755
	fileMode = 0o100644
)

type treeMaker struct {
	*source
	to    *repo.Session
	files *repo.FileWriter
	noise []byte
}

func (t *treeMaker) full(ctx context.Context, top *repo.DirWriter) error {
	for d, left := 0, t.first(); left > 0; d++ {
		w := t.to.NewDir()
		n := min(filesPerDir, left)
		for f := range n {
			e := repo.Entry{Name: fmt.Sprintf("file-%04d", f), Mode: fileMode}
			if err := t.write(ctx, &e); err != nil {
				return err
			}
			if err := w.Add(ctx, &e); err != nil {
				return err
			}
		}
		dir := repo.Entry{Name: fmt.Sprintf("dir-%06d", d), Mode: dirMode}
		if err := w.Finish(ctx, &dir); err != nil {
			return err
		}
		if err := top.Add(ctx, &dir); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// increment makes the base's tree again, with some files of some directories
// written anew.
func (t *treeMaker) increment(ctx context.Context, top *repo.DirWriter) error {
	old, err := t.repo.OpenTree(ctx, *t.base.Item(repo.WholeTree))
	if err != nil {
		return err
	}
	changed, each := t.spread(int(old.Root().Below.Dirs), filesPerDir)
	d := 0
	for dir, err := range old.Entries(ctx, old.Root(), "") {
		if err != nil {
			return err
		}
		var fresh map[int]bool
		if changed[d] {
			fresh = t.choose(each, int(dir.Below.Files))
		}
		again, err := t.again(ctx, old, dir, fresh)
		if err != nil {
			return err
		}
		if err := top.Add(ctx, again); err != nil {
			return err
		}
		d++
	}
	return nil
}

// again makes a directory again, with those of its files that are fresh written
// anew.
func (t *treeMaker) again(ctx context.Context, old *repo.Tree, dir *repo.Entry, fresh map[int]bool) (*repo.Entry, error) {
	w := t.to.NewDir()
	f := 0
	for e, err := range old.Entries(ctx, dir, "") {
		if err != nil {
			return nil, err
		}
		e := *e
		if fresh[f] {
			if err := t.write(ctx, &e); err != nil {
				return nil, err
			}
		}
		if err := w.Add(ctx, &e); err != nil {
			return nil, err
		}
		f++
	}
	made := repo.Entry{Name: dir.Name, Mode: dir.Mode}
	return &made, w.Finish(ctx, &made)
}

// write stores new content of a file.
func (t *treeMaker) write(ctx context.Context, e *repo.Entry) (err error) {
	t.random.Read(t.noise)
	e.Content, err = t.files.Put(ctx, bytes.NewReader(t.noise))
	e.Mtime = repo.Timestamp{Sec: t.time.Unix()}
	return err
}
