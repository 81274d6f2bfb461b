package rsync

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"vaultfs/ingest"
	"vaultfs/ingest/tree"
	"vaultfs/repo"
)

// Kind is the kind of the sources made here; their names begin with it.
const Kind = tree.KindRsync

// Errors that callers tell apart, with errors.Is.
var (
	ErrUsage = tree.ErrUsage
	ErrBusy  = errors.New("is in use by another run: wait until that has ended")
)

// Options says how a directory is mirrored and what becomes of the mirror.
type Options struct {
	Name     string   // the source is rsync/Name, and the mirror has that name
	Shell    string   // what rsync reaches other hosts with: "ssh -p 2222"; "" for its own choice
	Exclude  []string // rsync's patterns of what is left out
	Extra    []string // options that are given to rsync after those it is always given
	StateDir string   // mirrors lie in StateDir/mirrors; "" for the usual place
	Verify   bool     // read back what was written before the commit
	Adopt    bool     // the name may have belonged to another source
	Tags     []string // a person's words for each snapshot
	Program  string   // and version, for the snapshot
	Progress *ingest.Progress
	Warn     func(string) // is told what a person should know at once; may be nil
}

// Ingest brings the mirror of a directory up to date and backs it up. The source
// is one as rsync(1) takes it, such as "root@web:/srv" or a directory of this
// host; its contents are meant, with or without a slash at the end. Where rsync
// could not copy everything the snapshot has warnings; where it failed there is
// none.
func Ingest(ctx context.Context, r *repo.Repo, source string, o Options) ([]tree.Made, error) {
	from, err := o.complete(source)
	if err != nil {
		return nil, err
	}
	if err := o.checkSource(ctx, r, from); err != nil {
		return nil, err
	}
	program, err := findRsync(ctx)
	if err != nil {
		return nil, err
	}
	m, err := openMirror(o.StateDir, o.Name, from.String(), o.Adopt)
	if err != nil {
		return nil, err
	}
	defer m.close()
	warnings, err := program.run(ctx, o.arguments(from, m), m.lock, o.Progress)
	if err != nil {
		return nil, fmt.Errorf("source %q: %w", from, err)
	}
	return o.ingest(ctx, r, from, m, warnings)
}

// ingest backs up the mirror.
func (o *Options) ingest(ctx context.Context, r *repo.Repo, from source, m *mirror, warnings []string) ([]tree.Made, error) {
	var left tree.Patterns
	if err := left.Add(partial + "/"); err != nil {
		return nil, err
	}
	o.Progress.Done.Store(0)
	return tree.Ingest(ctx, r, []string{m.tree()}, tree.Options{
		Name: o.Name, Exclude: &left, Verify: o.Verify, Adopt: o.Adopt, Tags: o.Tags, Program: o.Program, Progress: o.Progress, Warn: o.Warn,
		Mirror: &tree.Mirror{Kind: Kind, Of: from.String(), Warnings: warnings, Unread: unread(warnings)},
	})
}

// complete fills in what may be left out and refuses what makes no sense.
func (o *Options) complete(text string) (from source, err error) {
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if why := unfit(o.Name); why != "" {
		return "", fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, why)
	}
	if err := checkExtra(o.Extra); err != nil {
		return "", err
	}
	if o.StateDir == "" {
		if o.StateDir, err = ingest.StateDir(); err != nil {
			return "", err
		}
	}
	if from, err = parseSource(text); err != nil || from.remote() {
		return from, err
	}
	return from, from.checkLocal(filepath.Join(o.StateDir, mirrors))
}

// checkSource refuses a name under which something else was backed up, before
// the mirror is touched. The session looks again.
func (o *Options) checkSource(ctx context.Context, r *repo.Repo, from source) error {
	all, err := r.Snapshots(ctx)
	if err != nil {
		return nil // the session says what that means
	}
	for i := len(all) - 1; i >= 0; i-- {
		s := all[i]
		if s.Source != Kind+"/"+o.Name {
			continue
		}
		if s.Info.Machine != from.String() && !o.Adopt {
			return fmt.Errorf("%w: %s was last backed up from %q, this is %q; choose another name with --name, or go on with --adopt",
				repo.ErrSourceTaken, s.Source, s.Info.Machine, from)
		}
		return nil
	}
	return nil
}
