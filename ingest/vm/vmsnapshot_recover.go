package vm

import (
	"fmt"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// unname takes libvirt's name from a snapshot whose overlays are being merged: a run died before it came to that.
func (f *fixer) unname() error {
	name := f.journal.entry.Snapshot
	if name == "" {
		return nil
	}
	s, err := f.link.reach().SnapshotLookupByName(name, 0)
	switch {
	case virt.IsCode(err, libvirt.ERR_NO_DOMAIN_SNAPSHOT):
	case err != nil:
		return fmt.Errorf("the snapshot %s: %w", name, virt.Sentence(err))
	default:
		defer s.Free()
		if err := s.Delete(libvirt.DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY); err != nil {
			return fmt.Errorf("the snapshot %s is being deleted, and libvirt does not drop its name: %w", name, virt.Sentence(err))
		}
		f.did("dropped libvirt's name of the snapshot %s, which was being deleted", name)
	}
	return f.journal.update(func(e *entry) { e.Snapshot = "" })
}
