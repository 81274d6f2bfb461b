package tree

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// Restore puts an entry of a tree, its root too, to dest.
//
// For a directory dest becomes that directory: it is made, or exists and is
// empty, or holds something and Options.Overwrite says what becomes of it. For
// any other entry dest is the file to be made, or a directory that there is, in
// which it keeps its name.
//
// The caller pins the snapshot. An error means that it ended before everything
// had been tried: what was restored until then stays, and the report tells of
// it. It is nil only if nothing was begun. A *restore.SpaceError, ErrUsage and
// the context's error are told apart.
func Restore(ctx context.Context, t *repo.Tree, from *repo.Entry, dest string, o Options) (*Report, error) {
	if err := o.complete(from); err != nil {
		return nil, err
	}
	r := &restorer{tree: t, o: o, root: -1, temp: tempPrefix + rand.Text()[:8] + "-", links: map[inode]*link{}, systems: map[uint64]*system{}}
	r.tally = tally{failures: map[Loss]*Failure{}, each: o.Each}
	r.few = from.Below.Files+from.Below.Dirs+from.Below.Others <= few
	place, err := r.open(ctx, from, dest)
	if err != nil {
		return nil, err
	}
	if o.Progress.Total.Add(int64(from.Below.Bytes)); from.IsRegular() {
		o.Progress.Total.Add(from.Content.Size)
	}
	err = r.run(ctx, place, from)
	if r.root >= 0 {
		if err == nil && !o.DryRun {
			err = r.syncAll(dest)
		}
		unix.Close(r.root)
	}
	for _, s := range r.systems {
		unix.Close(s.fd)
	}
	return r.finish(), err
}

// tempPrefix begins the names of files that are not whole yet.
const tempPrefix = ".vaultfs-restore-"

// A restorer is one restore.
type restorer struct {
	tree *repo.Tree
	o    Options
	tally
	root  int // descriptor of the directory that paths begin at; -1 if there is none yet
	temp  string
	temps atomic.Uint64
	stop  context.CancelCauseFunc
	few   bool // files and directories are made durable one by one

	systems map[uint64]*system // by their device, that of root not

	linksMu sync.Mutex
	links   map[inode]*link
}

// A task is an entry that is no directory, to be made in a directory.
type task struct {
	dir  *dir
	name string
	e    *repo.Entry
}

// run restores an entry to its place. Every directory that is open when it ends
// early gets its attributes all the same.
func (r *restorer) run(ctx context.Context, p *place, from *repo.Entry) error {
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	tasks := make(chan task, 64)
	var workers sync.WaitGroup
	for range workerCount() {
		workers.Go(func() {
			for t := range tasks {
				if ctx.Err() == nil {
					r.entry(ctx, t)
				}
				r.release(context.WithoutCancel(ctx), t.dir)
			}
		})
	}
	if from.IsDir() {
		r.walk(ctx, p.dir, tasks)
	} else {
		r.give(ctx, tasks, task{p.dir, p.name, from})
	}
	close(tasks)
	workers.Wait()
	r.release(context.WithoutCancel(ctx), p.dir)
	return context.Cause(ctx)
}

// workerCount is how many goroutines make files: more than there are processors,
// because file systems make one wait.
func workerCount() int { return runtime.GOMAXPROCS(0) + 2 }

// give leaves a task to the workers. In a dry run it is done at once, so that
// what is told comes in order.
func (r *restorer) give(ctx context.Context, tasks chan<- task, t task) {
	if r.o.DryRun {
		r.entry(ctx, t)
		return
	}
	t.dir.pending.Add(1)
	tasks <- t
}

// walk makes what is in a directory and below it. Files are left to the
// workers.
func (r *restorer) walk(ctx context.Context, d *dir, tasks chan<- task) {
	if r.o.Delete && d.existed && !d.apart {
		r.removeSurplus(ctx, d)
	}
	for e, err := range r.tree.Entries(ctx, d.entry, "") {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.fail(d.path, fmt.Errorf("what is in the directory is not known from here on: %w", err))
			return
		}
		if why := unfit(e.Name); why != "" {
			r.fail(d.below(e.Name), errors.New(why))
			continue
		}
		if !e.IsDir() {
			r.give(ctx, tasks, task{d, e.Name, e})
			continue
		}
		sub, err := r.enter(d, e)
		if err != nil {
			r.fail(d.below(e.Name), fmt.Errorf("%w%s", err, withAll(e)))
			continue
		}
		r.walk(ctx, sub, tasks)
		r.release(context.WithoutCancel(ctx), sub)
	}
}

// withAll says how much is lost with a directory that is not restored.
func withAll(e *repo.Entry) string {
	if n := e.Below.Files + e.Below.Dirs + e.Below.Others; n > 0 {
		return fmt.Sprintf("; nor are the %d entries below it", n)
	}
	return ""
}

// unfit says why a name cannot be that of a directory's entry. The repository
// gives no such name; what is at stake is worth a second look.
func unfit(name string) string {
	if name == "" || name == "." || name == ".." {
		return "its name is no file name"
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return "its name is no file name"
		}
	}
	return ""
}

// fail records that an entry was not restored, and ends everything after an
// error that all others would meet too.
func (r *restorer) fail(path string, err error) {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		r.stop(fmt.Errorf("no space is left for %s: the restore ends here, what was restored so far is whole; free some, or choose another place", path))
	case errors.Is(err, unix.EROFS):
		r.stop(fmt.Errorf("%s: the file system cannot be written to: %w", path, err))
	case errors.Is(err, context.Canceled):
		r.stop(err)
	default:
		r.lose(NotRestored, path, err)
	}
}

// few is up to how many entries it takes less time to make each of them durable
// than all that anybody has written to the file system.
const few = 64

// sync makes an open file or directory durable, if all are not in the end.
func (r *restorer) sync(fd int) error {
	if !r.few || r.o.DryRun {
		return nil
	}
	return retry(func() error { return unix.Fsync(fd) })
}

// A system is a file system that is mounted below the destination.
type system struct {
	fd   int
	path string
}

// syncAll makes durable what is not yet.
func (r *restorer) syncAll(dest string) error {
	told := func(path string, err error) error {
		if err != nil {
			err = fmt.Errorf("%s: writing to the medium: %w: some of what was restored may be lost", path, err)
		}
		return err
	}
	if r.few {
		return told(dest, r.sync(r.root))
	}
	err := told(dest, unix.Syncfs(r.root))
	for _, s := range r.systems {
		err = errors.Join(err, told(s.path, unix.Syncfs(s.fd)))
	}
	return err
}
