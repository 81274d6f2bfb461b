package tar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"vaultfs/ingest"
	"vaultfs/internal/decompress"
	"vaultfs/repo"
)

// Stream is the file name that means Options.Stdin.
const Stream = "-"

// Options says how archives are read and what becomes of them.
type Options struct {
	Name     string    // the source is tar/Name; "" names it after the file
	Verify   bool      // read back what was written before the commit
	Adopt    bool      // see repo.SessionOptions
	Tags     []string  // a person's words for each snapshot
	Program  string    // and version, for the snapshot
	Stdin    io.Reader // what the file "-" means
	Progress *ingest.Progress
}

// Made is a snapshot that was made of an archive.
type Made struct {
	Snapshot *repo.Snapshot
	Warnings []string // what was left out, or is not as in the archive
}

// Ingest backs up tar archives, plain or compressed with zstd, gzip or lzop, each
// as a snapshot of a source of its own that holds the tree. One that fails does
// not stop the others: the snapshots that were made are returned beside the
// error.
func Ingest(ctx context.Context, r *repo.Repo, files []string, o Options) (made []Made, err error) {
	sets, err := o.complete(files)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, s := range sets {
		one, err := s.ingest(ctx, r, &o)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.what(), err))
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
func (o *Options) complete(files []string) ([]set, error) {
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	switch {
	case len(files) == 0:
		return nil, fmt.Errorf("%w: no archive given", ErrUsage)
	case o.Name != "" && len(files) > 1:
		return nil, fmt.Errorf("%w: a name is for one archive, and %d are given", ErrUsage, len(files))
	case o.Name != "" && ingest.Unfit(o.Name) != "":
		return nil, fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, ingest.Unfit(o.Name))
	case o.Name == "" && slices.Contains(files, Stream):
		return nil, fmt.Errorf("%w: an archive from standard input needs a name: give --name", ErrUsage)
	case slices.Contains(files, Stream) && o.Stdin == nil:
		return nil, fmt.Errorf("%w: no standard input", ErrUsage)
	}
	return o.plan(files)
}

// A set is an archive that becomes a snapshot.
type set struct {
	title
	file string
}

// plan says which snapshots the archives make. Those of one source come in the
// order of their times.
func (o *Options) plan(files []string) ([]set, error) {
	var sets []set
	from := map[string]string{} // source and time to file
	for _, f := range files {
		s := set{titleOf(f), f}
		if o.Name != "" {
			s.title = title{kind: Kind, name: o.Name}
		}
		if why := ingest.Unfit(s.name); why != "" {
			return nil, fmt.Errorf("%w: archive %q cannot give its name to the source, it %s: give another with --name", ErrUsage, f, why)
		}
		key := s.source() + s.time.String()
		if other, ok := from[key]; ok {
			return nil, fmt.Errorf("%w: %q and %q would both become the source %s: back them up one by one, each with --name", ErrUsage, other, f, s.source())
		}
		from[key] = f
		sets = append(sets, s)
	}
	slices.SortStableFunc(sets, func(a, b set) int { return a.time.Compare(b.time) })
	return sets, nil
}

// what names the archive in errors.
func (s *set) what() string {
	if s.file == Stream {
		return "the archive from standard input"
	}
	return fmt.Sprintf("archive %q", s.file)
}

// ingest makes the snapshot.
func (s *set) ingest(ctx context.Context, r *repo.Repo, o *Options) (Made, error) {
	src := openStream(o.Stdin, o.Progress)
	if s.file != Stream {
		var err error
		if src, err = openFile(s.file, o.Progress); err != nil {
			return Made{}, err
		}
	}
	defer src.close()
	so := repo.SessionOptions{Source: s.source(), Kind: s.kind, Adopt: o.Adopt, Tags: o.Tags, Verify: o.Verify}
	if s.time.Before(time.Now()) { // a snapshot is not of the future
		so.Time = s.time
	}
	session, err := r.NewSession(ctx, so)
	if err != nil {
		return Made{}, err
	}
	defer session.Abort(ctx)
	return s.store(ctx, session, src, o)
}

func (s *set) store(ctx context.Context, session *repo.Session, src *source, o *Options) (Made, error) {
	plain, err := decompress.NewContext(ctx, src)
	if err != nil {
		return Made{}, err
	}
	defer plain.Close()
	_, report, err := Store(ctx, session, plain, repo.WholeTree, StoreOptions{Time: src.modified(), Path: ingest.Printable(src.path())})
	if err != nil {
		return Made{}, err
	}
	if err := src.unchanged(); err != nil {
		return Made{}, err
	}
	info := repo.Info{Program: o.Program, Mode: "file", Notes: append(report.Notes, report.Warnings...)}
	if s.file == Stream {
		info.Mode = "stdin"
	}
	info.Summary.BytesRead = report.Bytes
	snapshot, err := session.Commit(ctx, info)
	return Made{snapshot, report.Warnings}, err
}
