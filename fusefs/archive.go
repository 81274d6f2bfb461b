package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"weak"

	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// archiveKind is the kind of the snapshots that are made of archives.
const archiveKind = "vzdump"

// maxConfig bounds what is read of a configuration file, in bytes: what an
// archive holds of one.
const maxConfig = 1<<16 - 1

// archive is the archive that a snapshot was made of. It is computed from the
// snapshot's disks and files.
type archive struct {
	*vma.Description
	snapshot *snapshot

	mu   sync.Mutex
	view weak.Pointer[vma.View] // while somebody reads it
	size int64                  // bytes, 0 as long as it is not known
}

// archives finds the archives of snapshots.
type archives struct {
	repository Repository
	flights    *flights
	report     *reporter
	disks      *shelf
	known      sync.Map // by the snapshot's ID; an *entry, nil for none
}

// of returns the archive of a snapshot as an entry of its directory, nil if there
// is none. One whose description is damaged is not shown, and reported.
func (a *archives) of(ctx context.Context, s *snapshot) (*entry, error) {
	it := s.Item(vma.DescriptionItem)
	if s.Kind != archiveKind || it == nil || it.Kind != repo.ItemFile {
		return nil, nil
	}
	if known, ok := a.known.Load(s.ID); ok {
		return known.(*entry), nil
	}
	found, err := a.flights.do(ctx, "archive of "+s.ID, func(ctx context.Context) (any, error) {
		d, err := a.describe(ctx, s, *it)
		switch wrong := (*uselessError)(nil); {
		case errors.As(err, &wrong), errors.Is(err, repo.ErrDamaged):
			a.report.once("the archive of " + s.path + " is not shown, all else is: " + err.Error())
		case err != nil:
			return nil, err
		}
		e := archiveEntry(s, d)
		a.known.Store(s.ID, e)
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	return found.(*entry), nil
}

// uselessError is of a description that could be read, and is of no use.
type uselessError struct{ error }

// describe reads a description and holds it against the snapshot. It is nil of an
// archive that is not computed.
func (a *archives) describe(ctx context.Context, s *snapshot, it repo.Item) (*vma.Description, error) {
	b, err := a.read(ctx, it, vma.MaxDescription)
	if err != nil {
		return nil, err
	}
	d, err := vma.DecodeDescription(b)
	if err != nil {
		return nil, &uselessError{fmt.Errorf("%s: %w", it.Name, err)}
	}
	if d.Format != vma.FormatVMA {
		return nil, nil
	}
	for _, c := range d.Configs {
		it := s.Item(c.Item)
		if it == nil || it.Kind != repo.ItemFile {
			return nil, &uselessError{fmt.Errorf("%s names the file %q, which the snapshot does not hold", vma.DescriptionItem, c.Item)}
		}
		if it.Size > maxConfig {
			return nil, &uselessError{tooLarge(*it, maxConfig)}
		}
	}
	for _, v := range d.Drives {
		if it := s.Item(v.Item); it == nil || it.Kind != repo.ItemDisk || it.Size != v.Size {
			return nil, &uselessError{fmt.Errorf("%s names the disk %q of %d bytes, which the snapshot does not hold", vma.DescriptionItem, v.Item, v.Size)}
		}
	}
	return d, nil
}

// archiveEntry is the entry of a description, nil for none.
func archiveEntry(s *snapshot, d *vma.Description) *entry {
	if d == nil {
		return nil
	}
	name := s.inside().free(escape(d.Name), func(*entry) bool { return false })
	return &entry{path: name, form: vmaArchive, archive: &archive{Description: d, snapshot: s}}
}

// open returns the archive's bytes.
func (a *archives) open(ctx context.Context, of *archive) (*vma.View, error) {
	of.mu.Lock()
	view := of.view.Value()
	of.mu.Unlock()
	if view != nil {
		return view, nil
	}
	opened, err := a.flights.do(ctx, "vma of "+of.snapshot.ID, func(ctx context.Context) (any, error) {
		view, err := vma.NewDescribedView(of.Description,
			func(item string) ([]byte, error) { return a.read(ctx, *of.snapshot.Item(item), maxConfig) },
			func(item string) (vma.Source, error) { return a.disks.get(ctx, *of.snapshot.Item(item)) })
		if err != nil {
			return nil, err
		}
		of.mu.Lock()
		defer of.mu.Unlock()
		of.view, of.size = weak.Make(view), view.Size()
		return view, nil
	})
	if err != nil {
		return nil, err
	}
	return opened.(*vma.View), nil
}

// size is the archive's length in bytes. It opens the archive's disks only the
// first time.
func (a *archives) size(ctx context.Context, of *archive) (int64, error) {
	of.mu.Lock()
	size := of.size
	of.mu.Unlock()
	if size > 0 {
		return size, nil
	}
	view, err := a.open(ctx, of)
	if err != nil {
		return 0, err
	}
	return view.Size(), nil
}

// read reads a whole file of at most so many bytes.
func (a *archives) read(ctx context.Context, it repo.Item, most int64) ([]byte, error) {
	if it.Size > most {
		return nil, &uselessError{tooLarge(it, most)}
	}
	f, err := a.repository.OpenFile(ctx, it)
	if err != nil {
		return nil, err
	}
	b := make([]byte, it.Size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: %w", it.Name, err)
	}
	return b, nil
}

// archive is the archive that a snapshot's own directory shows beside what the
// snapshot holds, nil for none.
func (n *insideNode) archive(ctx context.Context) (*entry, syscall.Errno) {
	if n.dir.path != "" {
		return nil, 0
	}
	found, err := n.archives.of(ctx, n.snapshot)
	if err != nil {
		return nil, n.report.failed("reading what archive "+n.snapshot.path+" was made of", err)
	}
	return found, 0
}

// child finds a name in the directory, nil if it is not there.
func (n *insideNode) child(ctx context.Context, name string) (*entry, syscall.Errno) {
	if found := n.dir.children[name]; found != nil {
		return found, 0
	}
	a, e := n.archive(ctx)
	if a == nil || a.path != name {
		return nil, e
	}
	return a, 0
}

func tooLarge(it repo.Item, most int64) error {
	return fmt.Errorf("%s has %d bytes, more than the %d that it may have", it.Name, it.Size, most)
}
