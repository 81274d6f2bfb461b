package vm

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// forget sets right what is left of a guest that is not defined any more. Its disks may be another's by now, as after
// virsh undefine and define without the UUID: their overlays are taken off there. What cannot be undone stays in the
// entry; what ends with a guest is dropped from it.
func forget(h *virt.Host, j *journal) (done []string, failed error) {
	did := func(format string, args ...any) { done = append(done, fmt.Sprintf(format, args...)) }
	scratch := j.entry.Scratch
	if removed, err := removeScratch(scratch); err != nil {
		failed = err
	} else {
		if scratch = ""; removed {
			did("removed the scratch files of its backup job")
		}
	}
	for _, o := range j.entry.Overlays {
		if err := takeOffElsewhere(h, j, o, did); err != nil {
			failed = oneLine(failed, err)
		}
	}
	if len(done) == 0 && failed == nil {
		did("the VM is not defined any more, there is nothing to be done")
	}
	return done, oneLine(failed, j.update(func(e *entry) {
		*e = entry{VM: e.VM, UUID: e.UUID, URI: e.URI, PID: e.PID, Since: e.Since, Scratch: scratch, Overlays: e.Overlays}
	}))
}

// removeScratch removes the directory of a backup job, if it is there.
func removeScratch(dir string) (removed bool, err error) {
	if dir == "" || !exists(dir) {
		return false, nil
	}
	s, err := lockScratch(dir)
	if err != nil {
		return false, fmt.Errorf("scratch directory %s: %w", dir, err)
	}
	return true, s.remove()
}

// takeOffElsewhere takes an overlay off the guest that has the disk now. Where there is none, it goes only if all that is
// in it is in the image below.
func takeOffElsewhere(h *virt.Host, j *journal, o overlay, did func(string, ...any)) error {
	d, err := domainNaming(h, o)
	if err != nil {
		return err
	}
	m := newMerger(nil, j)
	m.did = did
	if d == nil {
		if err := m.discard(o); err != nil {
			return fmt.Errorf("disk %s: the VM is not defined any more, and no other has the overlay %s, which was put over %s: %w", o.Target, o.File, o.Base, err)
		}
		return nil
	}
	defer d.Free()
	unlock, err := lockOther(j, d)
	if err != nil {
		return err
	}
	defer unlock()
	if m.link, err = newLink(d); err != nil {
		return err
	}
	defer m.link.close()
	if err := m.merge(o); err != nil {
		return m.explain(o, err)
	}
	name, err := d.GetName()
	if err != nil {
		return virt.Sentence(err)
	}
	did("VM %q had the disk with the overlay, and is on %s itself again", name, o.Base)
	_, err = resumeStalled(m.link.reach(), name)
	return err
}

// domainNaming is the guest that has an overlay in one of its definitions; nil if there is none. The caller frees it.
func domainNaming(h *virt.Host, o overlay) (*libvirt.Domain, error) {
	list, err := h.Conn.ListAllDomains(0)
	if err != nil {
		return nil, virt.Sentence(err)
	}
	var found *libvirt.Domain
	var failed error
	for i := range list {
		named, err := names(&list[i], o)
		if named && found == nil {
			found = &list[i]
			continue
		}
		failed = oneLine(failed, err)
		list[i].Free()
	}
	if found != nil {
		return found, nil
	}
	return nil, failed
}

// names tells whether a guest has an overlay. One that was undefined since it was listed has none.
func names(d *libvirt.Domain, o overlay) (bool, error) {
	all, err := definitionsOf(d)
	if err != nil {
		if _, gone := d.IsActive(); virt.IsCode(gone, libvirt.ERR_NO_DOMAIN) {
			return false, nil
		}
		return false, err
	}
	p := all.find(o)
	return p.live.named() || p.inactive.named() || p.saved.named(), nil
}

// lockOther keeps another run from being at the guest that has a disk of ours.
func lockOther(j *journal, d *libvirt.Domain) (unlock func(), err error) {
	uuid, err := d.GetUUIDString()
	if err != nil {
		return nil, virt.Sentence(err)
	}
	path := filepath.Join(filepath.Dir(j.path), uuid)
	f, err := lockGuest(path + ".lock")
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, busy(path + ".json")
	}
	if err != nil {
		return nil, err
	}
	return (&journal{lock: f}).close, nil
}
