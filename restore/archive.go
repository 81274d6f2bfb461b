package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// VMA is the format of an archive of a virtual machine, which is computed from the
// disks and files of the snapshot that was made of it.
const VMA = "vma"

const (
	archiveKind = "vzdump"  // of snapshots that are made of archives
	maxConfig   = 1<<16 - 1 // bytes that an archive holds of a configuration file
)

// ErrNoArchive is of a snapshot from which no archive can be computed.
var ErrNoArchive = errors.New("it was not made of a VMA archive")

// ArchiveName is the file name of the VMA archive that a snapshot was made of, and
// can be restored to: vzdump-qemu-101-2026_11_20-03_00_01.vma. It is "" if the
// snapshot was made of anything else. A description that is damaged or makes no
// sense is an error.
func ArchiveName(ctx context.Context, r *repo.Repo, snap *repo.Snapshot) (string, error) {
	d, err := describe(ctx, r, snap)
	if d == nil {
		return "", err
	}
	return d.Name, nil
}

// Archive opens the VMA archive that a snapshot was made of. A snapshot that was
// made of anything else is ErrNoArchive. The caller keeps the snapshot from being
// collected, as with Open.
func Archive(ctx context.Context, r *repo.Repo, snap *repo.Snapshot) (*Source, error) {
	d, err := describe(ctx, r, snap)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return nil, fmt.Errorf("snapshot %s of %s cannot be written as a VMA archive: %w; restore what it holds in its own form", snap.Short(), snap.Source, ErrNoArchive)
	}
	v, err := vma.NewDescribedView(d,
		func(item string) ([]byte, error) { return readItem(ctx, r, snap, item, maxConfig) },
		func(item string) (vma.Source, error) { return openDrive(ctx, r, snap, item) })
	if err != nil {
		return nil, fmt.Errorf("archive %s: %w", d.Name, err)
	}
	it := repo.Item{Name: d.Name, Kind: repo.ItemFile, Size: v.Size()}
	return &Source{content: dense{v}, data: v.Size(), takes: v.Size(), format: VMA, item: it}, nil
}

// WriteArchive writes the VMA archive that a snapshot was made of to dest: a file
// that is to be made, or a directory that is there, in which the archive has its
// own name.
func WriteArchive(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, dest string, o Options) (*Written, error) {
	release, err := Pin(ctx, r, snap)
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := Archive(ctx, r, snap)
	if err != nil {
		return nil, err
	}
	t, err := aim(s.item, dest, o)
	if err != nil {
		return nil, err
	}
	return s.write(ctx, t, o)
}

// describe reads the description of the archive that a snapshot was made of, nil
// if that was no VMA.
func describe(ctx context.Context, r *repo.Repo, snap *repo.Snapshot) (*vma.Description, error) {
	if snap.Kind != archiveKind || snap.Item(vma.DescriptionItem) == nil {
		return nil, nil
	}
	b, err := readItem(ctx, r, snap, vma.DescriptionItem, vma.MaxDescription)
	if err != nil {
		return nil, err
	}
	d, err := vma.DecodeDescription(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("snapshot %s of %s: %s: %w; its disks and files can be restored by themselves", snap.Short(), snap.Source, vma.DescriptionItem, err)
	case d.Format != vma.FormatVMA:
		return nil, nil
	}
	return d, nil
}

// readItem reads a file of a snapshot that has at most so many bytes.
func readItem(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, name string, most int64) ([]byte, error) {
	it, err := itemOf(snap, name)
	if err != nil {
		return nil, err
	}
	if it.Size > most {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that it may have", name, it.Size, most)
	}
	f, err := r.OpenFile(ctx, it)
	if err != nil {
		return nil, err
	}
	b := make([]byte, it.Size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return b, nil
}

func openDrive(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, name string) (*repo.Disk, error) {
	it, err := itemOf(snap, name)
	if err != nil {
		return nil, err
	}
	return openDisk(ctx, r, it)
}

func itemOf(snap *repo.Snapshot, name string) (repo.Item, error) {
	it := snap.Item(name)
	if it == nil {
		return repo.Item{}, fmt.Errorf("snapshot %s holds no %q", snap.Short(), name)
	}
	return *it, nil
}
