package disk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// Kind is the kind of the sources made here; their names begin with it.
const Kind = "disk"

// Stream is the file name that means Options.Stdin.
const Stream = "-"

// Errors that callers tell apart, with errors.Is.
var (
	ErrUsage   = errors.New("wrong usage")
	ErrFormat  = errors.New("its format cannot be told safely")
	ErrOutside = errors.New("names a file that is not beside it")
	ErrInUse   = errors.New("is open for writing by another process (a running VM?): use `vaultfs ingest vm`, or shut the VM down")
	ErrChanged = errors.New("while it was being read")
	ErrEmpty   = errors.New("standard input was empty: nothing to back up")
)

// Options says how images are read and what becomes of them.
type Options struct {
	Name         string    // the source is disk/Name; "" names it after the file
	Format       string    // one of Formats; "" is found out
	AllowBacking bool      // files that an image names may lie anywhere
	Verify       bool      // read back what was written before the commit
	Adopt        bool      // see repo.SessionOptions
	Tags         []string  // a person's words for each snapshot
	Program      string    // and version, for the snapshot
	Stdin        io.Reader // what the file "-" means
	Progress     *ingest.Progress
	Warn         func(string) // is told what a person should know; may be nil
}

// Ingest backs up disk images. With a name all of them become items of one
// snapshot of the source disk/NAME, without one each becomes a snapshot of its
// own source. In the second case one that fails does not stop the others: the
// snapshots that were made are returned beside the error.
func Ingest(ctx context.Context, r *repo.Repo, files []string, o Options) (made []*repo.Snapshot, err error) {
	if err := o.complete(files); err != nil {
		return nil, err
	}
	sets, err := plan(files, o.Name)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, s := range sets {
		snapshot, err := s.ingest(ctx, r, &o)
		if err != nil {
			failed = append(failed, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		made = append(made, snapshot)
	}
	return made, errors.Join(failed...)
}

// complete fills in what may be left out and refuses what makes no sense.
func (o *Options) complete(files []string) error {
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	why, streams := "", 0
	if o.Name != "" {
		why = ingest.Unfit(o.Name)
	}
	for _, f := range files {
		if f == Stream {
			streams++
		}
	}
	switch {
	case len(files) == 0:
		return fmt.Errorf("%w: no disk image given", ErrUsage)
	case o.Format != "" && !known(o.Format):
		return fmt.Errorf("%w: format %q: want one of %s", ErrUsage, o.Format, formatList())
	case why != "":
		return fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, why)
	case streams > 1:
		return fmt.Errorf("%w: standard input is given twice", ErrUsage)
	case streams > 0 && o.Name == "":
		return fmt.Errorf("%w: a disk from standard input needs a name: give --name", ErrUsage)
	case streams > 0 && o.Stdin == nil:
		return fmt.Errorf("%w: no standard input", ErrUsage)
	case streams > 0 && o.Format != "" && o.Format != rawFormat:
		return fmt.Errorf("%w: standard input is a raw disk; %s is read from files only", ErrUsage, o.Format)
	}
	return nil
}

// A set is the files of one snapshot.
type set struct {
	source string
	files  []string
	names  []string // of the items
}

// plan says which snapshots the files make.
func plan(files []string, name string) ([]set, error) {
	if name != "" {
		return []set{{source: Kind + "/" + name, files: files, names: itemNames(files, name)}}, nil
	}
	var sets []set
	from := map[string]string{} // source to file
	for _, f := range files {
		item := itemName(f)
		if why := ingest.Unfit(item); why != "" {
			return nil, fmt.Errorf("%w: image %q cannot give its name to the source, it %s: give another with --name", ErrUsage, f, why)
		}
		s := set{source: Kind + "/" + item, files: []string{f}, names: []string{item}}
		if other, ok := from[s.source]; ok {
			return nil, fmt.Errorf("%w: %q and %q would both become the source %s: give --name", ErrUsage, other, f, s.source)
		}
		from[s.source] = f
		sets = append(sets, s)
	}
	return sets, nil
}

// ingest makes the snapshot. All images are open before anything is stored, and
// none has changed when it is committed.
func (s *set) ingest(ctx context.Context, r *repo.Repo, o *Options) (*repo.Snapshot, error) {
	images := make([]*image, 0, len(s.files))
	defer func() {
		for _, m := range images {
			m.close()
		}
	}()
	for _, f := range s.files {
		m, err := openImage(ctx, f, o)
		if err != nil {
			return nil, err
		}
		images = append(images, m)
	}
	session, err := r.NewSession(ctx, repo.SessionOptions{Source: s.source, Kind: Kind, Adopt: o.Adopt, Tags: o.Tags, Verify: o.Verify, GoOn: true})
	if err != nil {
		return nil, err
	}
	defer session.Abort(ctx)
	return s.copy(ctx, session, images, o)
}

// baseOf is the disk of that name in the snapshot before; nil if there is none, or
// none that can be relied on: then everything is looked for, and stored again where
// it is missing.
func baseOf(ctx context.Context, session *repo.Session, name string) *repo.Disk {
	base, err := session.OpenBase(ctx, name)
	if err != nil {
		return nil
	}
	return base
}

func (s *set) copy(ctx context.Context, session *repo.Session, images []*image, o *Options) (*repo.Snapshot, error) {
	before := o.Progress.Read.Load()
	for _, m := range images {
		if err := m.count(ctx, o.Progress); err != nil {
			return nil, m.explain(err)
		}
	}
	for i, m := range images {
		it, err := m.copy(ctx, session, baseOf(ctx, session, s.names[i]), o.Progress)
		if err != nil {
			return nil, m.explain(err)
		}
		it.Name = s.names[i]
		if err := session.AddItem(it); err != nil {
			return nil, err
		}
	}
	for _, m := range images {
		if err := m.unchanged(); err != nil {
			return nil, err
		}
	}
	info := repo.Info{Program: o.Program, Mode: "file"}
	info.Summary.BytesRead = o.Progress.Read.Load() - before
	return session.Commit(ctx, info)
}
