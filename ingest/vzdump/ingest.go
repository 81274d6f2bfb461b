package vzdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vaultfs/ingest"
	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// Kind is the kind of the sources made here; their names begin with it.
const Kind = "vzdump"

// Stream is the file name that means Options.Stdin.
const Stream = "-"

// Errors that callers tell apart, with errors.Is.
var (
	ErrUsage   = errors.New("wrong usage")
	ErrChanged = ingest.ErrChanged
)

// Options says how archives are read and what becomes of them.
type Options struct {
	Name     string    // the source is vzdump/Name; "" is the number of the guest, by the archive's name
	Verify   bool      // read back what was written before the commit
	Adopt    bool      // see repo.SessionOptions
	Tags     []string  // a person's words for each snapshot
	Program  string    // and version, for the snapshot
	Stdin    io.Reader // what the file "-" means
	StateDir string    // what does not fit into memory is put aside in files without a name below it
	Progress *ingest.Progress
	Warn     func(string)                                  // is told what a person should know; may be nil
	Skipped  func(archive string, snapshot *repo.Snapshot) // is told what a directory holds and the repository has; may be nil
	// Forgotten is told which archives of a directory are not read because their
	// snapshots were forgotten; may be nil.
	Forgotten func(archive string, forgotten repo.ForgottenArchive)
	// Wanted tells which archives of a directory that the repository never had
	// are to be read, by the times of all of one source, in their order: not those
	// that would be forgotten at once. It may be nil: all are.
	Wanted func(ctx context.Context, source string, times []time.Time) ([]bool, error)
	Passed func(archive string) // is told which are not wanted; may be nil
}

// Made is a snapshot that was made, and what of its archive was left out.
type Made struct {
	Snapshot *repo.Snapshot
	Warnings []string
}

// Ingest backs up archives: files, the archives in directories that are not in
// the repository yet, and a stream. Each becomes a snapshot. One that fails does
// not stop the others: what was made is returned beside the error.
func Ingest(ctx context.Context, r *repo.Repo, paths []string, o Options) (made []Made, err error) {
	if err := o.complete(paths); err != nil {
		return nil, err
	}
	list, err := o.plan(ctx, r, paths)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, a := range list {
		one, err := a.ingest(ctx, r, &o)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", a, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		made = append(made, one)
	}
	return made, errors.Join(failed...)
}

// complete fills in what may be left out and refuses what makes no sense.
func (o *Options) complete(paths []string) error {
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Skipped == nil {
		o.Skipped = func(string, *repo.Snapshot) {}
	}
	streams := 0
	for _, p := range paths {
		if p == Stream {
			streams++
		}
	}
	switch {
	case len(paths) == 0:
		return fmt.Errorf("%w: no archive given", ErrUsage)
	case o.Name != "" && ingest.Unfit(o.Name) != "":
		return fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, ingest.Unfit(o.Name))
	case streams > 1:
		return fmt.Errorf("%w: standard input is given twice", ErrUsage)
	case streams > 0 && o.Name == "":
		return fmt.Errorf("%w: an archive from standard input needs a name: give --name, such as the number of the guest", ErrUsage)
	case streams > 0 && o.Stdin == nil:
		return fmt.Errorf("%w: no standard input", ErrUsage)
	}
	return nil
}

// plan lists the archives, those of a directory oldest first.
func (o *Options) plan(ctx context.Context, r *repo.Repo, paths []string) (list []*archive, err error) {
	for _, p := range paths {
		info, statErr := os.Stat(p)
		if p != Stream && statErr == nil && info.IsDir() {
			found, err := o.newIn(ctx, r, p)
			if err != nil {
				return nil, err
			}
			list = append(list, found...)
			continue
		}
		a := &archive{path: p, title: titleOf(p)}
		if a.source(o) == "" {
			return nil, fmt.Errorf("%w: the name of archive %q does not tell which guest it is of, as vzdump-qemu-101-2026_11_20-03_00_01.vma.zst does: give --name", ErrUsage, p)
		}
		list = append(list, a)
		if statErr == nil { // if not, opening it will say so
			o.Progress.Total.Add(info.Size())
		}
	}
	return list, o.oneGuest(list)
}

// oneGuest refuses archives of several guests for one name.
func (o *Options) oneGuest(list []*archive) error {
	if o.Name == "" {
		return nil
	}
	var first *archive
	for _, a := range list {
		if a.title.vmid == "" {
			continue
		}
		if first == nil {
			first = a
		}
		if a.title.vmid != first.title.vmid {
			return fmt.Errorf("%w: %q and %q are of different guests, and --name %s would make both snapshots of one source: ingest them one by one", ErrUsage, first.path, a.path, o.Name)
		}
	}
	return nil
}

// newIn lists the archives in a directory that the repository does not have, and
// did not have: what was forgotten stays forgotten, else each run would bring it back,
// as the latest snapshot of its source.
// What does not have a name as vzdump gives it to what it has finished is none.
func (o *Options) newIn(ctx context.Context, r *repo.Repo, dir string) (list []*archive, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("directory %q: %w", dir, ingest.Bare(err))
	}
	have, err := o.known(ctx, r)
	if err != nil {
		return nil, err
	}
	forgotten, err := o.forgotten(ctx, r)
	if err != nil {
		return nil, err
	}
	archives, sizes := 0, map[*archive]int64{}
	for _, e := range entries {
		a := &archive{path: filepath.Join(dir, e.Name()), title: titleOf(e.Name())}
		if a.title.vmid == "" {
			continue
		}
		info, err := os.Stat(a.path)
		if err == nil && info.IsDir() || errors.Is(err, fs.ErrNotExist) {
			continue // removed just now, which vzdump does to old ones
		}
		archives++
		if err == nil {
			key := a.source(o) + "\x00" + identity(a.path, info)
			if s := have[key]; s != nil {
				o.Skipped(a.path, s)
				continue
			}
			if f, gone := forgotten[key]; gone {
				if o.Forgotten != nil {
					o.Forgotten(a.path, f)
				}
				continue
			}
			sizes[a] = info.Size()
		}
		list = append(list, a)
	}
	if archives == 0 {
		hint := ""
		if info, err := os.Stat(filepath.Join(dir, "dump")); err == nil && info.IsDir() {
			hint = fmt.Sprintf("; did you mean %s?", filepath.Join(dir, "dump"))
		}
		return nil, fmt.Errorf("directory %q holds no archive of vzdump, as vzdump-qemu-101-2026_11_20-03_00_01.vma.zst%s", dir, hint)
	}
	slices.SortStableFunc(list, func(a, b *archive) int { return a.title.time.Compare(b.title.time) })
	if list, err = o.wanted(ctx, list); err != nil {
		return nil, err
	}
	for _, a := range list {
		o.Progress.Total.Add(sizes[a])
	}
	return list, nil
}

// wanted keeps the archives that are to be read.
func (o *Options) wanted(ctx context.Context, list []*archive) ([]*archive, error) {
	if o.Wanted == nil {
		return list, nil
	}
	times := map[string][]time.Time{}
	for _, a := range list {
		times[a.source(o)] = append(times[a.source(o)], a.title.time)
	}
	passed := map[*archive]bool{}
	for source, times := range times {
		wanted, err := o.Wanted(ctx, source, times)
		if err != nil {
			return nil, err
		}
		i := 0
		for _, a := range list {
			if a.source(o) == source {
				passed[a] = !wanted[i]
				i++
			}
		}
	}
	for _, a := range list {
		if passed[a] && o.Passed != nil {
			o.Passed(a.path)
		}
	}
	return slices.DeleteFunc(list, func(a *archive) bool { return passed[a] }), nil
}

// known are the snapshots of archives by source and identity.
func (o *Options) known(ctx context.Context, r *repo.Repo) (map[string]*repo.Snapshot, error) {
	all, err := r.Snapshots(ctx)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	if err != nil {
		o.Warn(fmt.Sprintf("archives that are in already may be read again: %v", err))
	}
	have := map[string]*repo.Snapshot{}
	for _, s := range all {
		if !strings.HasPrefix(s.Source, Kind+"/") {
			continue
		}
		for _, it := range s.Items {
			if it.Name == vma.DescriptionItem && it.Checkpoint != "" {
				have[s.Source+"\x00"+it.Checkpoint] = s
			}
		}
	}
	return have, nil
}

// forgotten are the archives whose snapshots were forgotten, by source and identity.
func (o *Options) forgotten(ctx context.Context, r *repo.Repo) (map[string]repo.ForgottenArchive, error) {
	list, err := r.ForgottenArchives(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		o.Warn(fmt.Sprintf("archives that were forgotten may be read again: %v", err))
	}
	gone := map[string]repo.ForgottenArchive{}
	for _, f := range list {
		gone[f.Source+"\x00"+f.Archive] = f
	}
	return gone, nil
}
