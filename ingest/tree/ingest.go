package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/ingest"
	"vaultfs/internal/paths"
	"vaultfs/repo"
)

// Errors that callers tell apart, with errors.Is.
var (
	ErrUsage = errors.New("wrong usage")
	ErrGone  = errors.New("is not there any more: it was removed, replaced or unmounted while it was read")
)

// Options says how directories are read and what becomes of them.
type Options struct {
	Name          string    // the source is tree/Name; "" names it after the directory
	Exclude       *Patterns // what is left out; nil for nothing
	ExcludeCaches bool      // leave out what is in directories with a CACHEDIR.TAG
	OneFileSystem bool      // leave out what is mounted below the directory
	ForceRead     bool      // read files, too, that seem not to have changed
	Repository    string    // the directory of the repository, if it is one: it is left out
	Verify        bool      // read back what was written before the commit
	Adopt         bool      // see repo.SessionOptions
	Tags          []string  // a person's words for each snapshot
	Program       string    // and version, for the snapshot
	Progress      *ingest.Progress
	Warn          func(string) // is told what a person should know at once; may be nil

	// For a directory that another ingest has filled.
	Mirror *Mirror

	onRead func(n int64) // is told how many bytes have been read, by a test
}

// A Mirror is a copy that was made of something to be backed up.
type Mirror struct {
	Kind     string   // of the source, instead of Kind
	Of       string   // what it is a copy of: "root@web:/srv"
	Warnings []string // what is already known to be missing
	Unread   int64    // how many files could not be copied
}

// Made is a snapshot that was made of a directory.
type Made struct {
	Snapshot *repo.Snapshot
	Warnings []string // what was left out, or is not as it was at any one moment
}

// Ingest backs up directories, each as a snapshot of a source of its own. One
// that fails does not stop the others: the snapshots that were made are returned
// beside the error.
func Ingest(ctx context.Context, r *repo.Repo, dirs []string, o Options) (made []Made, err error) {
	sets, err := o.complete(dirs)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, s := range sets {
		one, err := s.ingest(ctx, r, &o)
		if err != nil {
			failed = append(failed, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		made = append(made, one)
	}
	return made, errors.Join(failed...)
}

// complete fills in what may be left out, refuses what makes no sense, and says
// which snapshots are to be made.
func (o *Options) complete(dirs []string) ([]set, error) {
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.onRead == nil {
		o.onRead = func(int64) {}
	}
	switch {
	case len(dirs) == 0:
		return nil, fmt.Errorf("%w: no directory given", ErrUsage)
	case o.Name != "" && len(dirs) > 1:
		return nil, fmt.Errorf("%w: a name is for one directory, and %d are given", ErrUsage, len(dirs))
	case o.Name != "" && ingest.Unfit(o.Name) != "":
		return nil, fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, ingest.Unfit(o.Name))
	}
	return o.plan(dirs)
}

// A set is a directory that becomes a snapshot.
type set struct {
	title
	dir  string // as it was given
	path string // absolute
}

// plan says which snapshots the directories make. Those of a row come in the
// order of their dates.
func (o *Options) plan(dirs []string) ([]set, error) {
	var sets []set
	from := map[string]string{} // source to directory
	for _, dir := range dirs {
		if dir == "" { // an unset variable of a script, which would be the current directory
			return nil, fmt.Errorf("%w: the name of a directory is empty", ErrUsage)
		}
		path, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("directory %q: %w", dir, err)
		}
		s := set{title: titleOf(path), dir: dir, path: path}
		if o.Name != "" {
			s.title = title{kind: Kind, name: o.Name}
		}
		if o.Mirror != nil {
			s.kind = o.Mirror.Kind
		}
		if why := ingest.Unfit(s.name); why != "" {
			return nil, fmt.Errorf("%w: directory %q cannot give its name to the source, it %s: give another with --name", ErrUsage, dir, why)
		}
		key := s.source() + s.time.String()
		if other, ok := from[key]; ok {
			return nil, fmt.Errorf("%w: %q and %q would both become the source %s: back them up one by one, each with --name", ErrUsage, other, dir, s.source())
		}
		from[key] = dir
		sets = append(sets, s)
	}
	slices.SortStableFunc(sets, func(a, b set) int { return a.time.Compare(b.time) })
	return sets, nil
}

func (s *set) source() string { return s.kind + "/" + s.name }

// ingest makes the snapshot of a directory.
func (s *set) ingest(ctx context.Context, r *repo.Repo, o *Options) (Made, error) {
	root, st, err := openRoot(s.path)
	if err != nil {
		return Made{}, s.unopened(err)
	}
	defer root.release()
	leave, err := s.leave(o, &st)
	if err != nil {
		return Made{}, err
	}
	if _, err := os.Stat(at(root.fd, ".")); err != nil {
		return Made{}, fmt.Errorf("directory %q: open files cannot be looked at in /proc (%w): mount it there", s.dir, err)
	}
	session, err := r.NewSession(ctx, s.options(o))
	if err != nil {
		return Made{}, err
	}
	defer session.Abort(ctx)
	w := newWalk(session, o, s.path, &st)
	w.leave, w.previous = leave, openPrevious(ctx, session, o, s.title)
	if was := s.elsewhere(o, session.Previous()); was != "" {
		w.remarks.note("the snapshot before was made of %q, not of %q: two directories want a --name each", was, s.path)
	}
	if o.Mirror != nil {
		w.remarks.warnings = slices.Clone(o.Mirror.Warnings)
		w.counts.unread.Add(o.Mirror.Unread)
	}
	return s.store(ctx, w, root, &st)
}

func (s *set) store(ctx context.Context, w *walk, root *handle, st *unix.Stat_t) (Made, error) {
	before := w.o.Progress.Read.Load()
	w.expected.start(w.o.Progress, w.previous.root())
	entry, err := w.run(ctx, root, st)
	if err != nil {
		return Made{}, err
	}
	if err := s.still(st); err != nil {
		return Made{}, err
	}
	it, err := w.session.PutTree(ctx, entry)
	if err != nil {
		return Made{}, err
	}
	it.Name, it.Path = repo.WholeTree, s.origin(w.o)
	if err := w.session.AddItem(it); err != nil {
		return Made{}, err
	}
	warnings, notes := w.remarks.all()
	info := repo.Info{Program: w.o.Program, Mode: "file", Notes: append(notes, warnings...)}
	info.Summary.BytesRead = w.o.Progress.Read.Load() - before
	w.counts.addTo(&info.Summary)
	snapshot, err := w.session.Commit(ctx, info)
	return Made{snapshot, warnings}, err
}

// options are those of the session. The machine that a source belongs to is the
// host, so that two hosts whose /etc go to one repository do not become one
// source by mistake.
func (s *set) options(o *Options) repo.SessionOptions {
	so := repo.SessionOptions{Source: s.source(), Kind: s.kind, Adopt: o.Adopt, Tags: o.Tags, Verify: o.Verify}
	switch {
	case o.Mirror != nil:
		so.Machine = o.Mirror.Of
	case s.dated:
		if so.Time = s.time; so.Time.After(time.Now()) {
			so.Time = time.Time{} // a snapshot is not of the future
		}
	default:
		so.Machine, _ = os.Hostname()
	}
	return so
}

// origin is where the tree came from.
func (s *set) origin(o *Options) string {
	if o.Mirror != nil {
		return o.Mirror.Of
	}
	return ingest.Printable(s.path)
}

// elsewhere is the directory that the previous snapshot was made of, if that was
// another one: two of the same base name become one source by mistake.
func (s *set) elsewhere(o *Options, previous *repo.Snapshot) string {
	if o.Mirror != nil || s.dated || previous == nil {
		return ""
	}
	it := previous.Item(repo.WholeTree)
	if it == nil || it.Path == "" || it.Path == s.origin(o) {
		return ""
	}
	return it.Path
}

// leave is the directories that are not looked into.
func (s *set) leave(o *Options, root *unix.Stat_t) ([]inodeNumber, error) {
	if o.Repository == "" {
		return nil, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(o.Repository, &st); err != nil {
		return nil, fmt.Errorf("repository %q: %w", o.Repository, err)
	}
	if st.Dev == root.Dev && st.Ino == root.Ino {
		return nil, fmt.Errorf("%w: directory %q is the repository that the backup would go to", ErrUsage, s.dir)
	}
	if s.within(o.Repository) {
		return nil, fmt.Errorf("%w: directory %q lies in the repository that the backup would go to", ErrUsage, s.dir)
	}
	return []inodeNumber{{st.Dev, st.Ino}}, nil
}

// within tells whether the directory lies below another one.
func (s *set) within(other string) bool {
	here, err := paths.Real(s.path)
	if err != nil {
		return false
	}
	there, err := paths.Real(other)
	return err == nil && paths.Inside(there, here)
}

// unopened says why a directory cannot be backed up.
func (s *set) unopened(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("directory %q does not exist: nothing was backed up", s.dir)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%q is not a directory: name the directory that it lies in; for a tar archive there is `vaultfs ingest tar`, for a disk image `vaultfs ingest disk`", s.dir)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("directory %q may not be read by this user: run vaultfs as root, or as its owner", s.dir)
	}
	return fmt.Errorf("directory %q cannot be opened: %w", s.dir, err)
}

// still makes sure that the directory has not been removed: half of it would
// have been taken for all.
func (s *set) still(st *unix.Stat_t) error {
	var now unix.Stat_t
	err := again(func() error { return unix.Stat(s.path, &now) })
	if err != nil || now.Dev != st.Dev || now.Ino != st.Ino {
		return fmt.Errorf("directory %q %w: nothing was committed", s.dir, ErrGone)
	}
	return nil
}
