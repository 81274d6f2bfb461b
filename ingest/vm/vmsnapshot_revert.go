package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
)

// Setting a VM back to an external snapshot is: have its definition name the images below the overlays, of all disks at
// once; remove the overlays, which nothing names any more; drop libvirt's name of the snapshot. It can be killed after
// each step and is finished when it is begun again: a disk whose image is named already is as it should be. libvirt 9
// does not do it itself, and whoever does it with virsh edit finds that the VM does not start: libvirt keeps the disk's
// <backingStore>, which then names the disk's own image, and QEMU cannot lock that twice.

// RevertResult tells what setting a VM back to a libvirt snapshot did.
type RevertResult struct {
	VMSnapshot
	Done []string // step by step; of a run that died too
}

// RevertSnapshot sets a VM that is shut off back to a snapshot that was made by vaultfs. What the VM has written since is
// lost. An internal snapshot can be gone back to again; an external one is gone with its overlays. It is refused for a
// VM that runs or is saved, for a snapshot that is not ours, and for one that others lie on.
func RevertSnapshot(ctx context.Context, vm, snapshot string, o DeleteOptions) (*RevertResult, error) {
	r := new(RevertResult)
	err := withSnapshot(ctx, vm, snapshot, o, func(at *atGuest, s *libvirt.DomainSnapshot, one VMSnapshot) error {
		r.VMSnapshot, r.Done = one, at.done
		if err := mayRevert(at); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if one.Kind == KindInternal {
			return revertInternal(at, s, r)
		}
		return revertExternal(at, s, r)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// mayRevert refuses a VM whose disks are in use, or will be as they are now.
func mayRevert(at *atGuest) error {
	all, err := readDefinitions(at.link)
	switch {
	case err != nil:
		return err
	case all.active():
		return errors.New("the VM is running, and its disks cannot be set back under it: shut it down first")
	case all.saved != nil:
		return errors.New("the VM is saved (virsh managedsave), and what it is restored to wants its disks as they are: start it and shut it down, or drop what was saved (virsh managedsave-remove)")
	}
	return nil
}

// revertInternal has libvirt set the images back, and the definition to that of the time.
func revertInternal(at *atGuest, s *libvirt.DomainSnapshot, r *RevertResult) error {
	all, err := readDefinitions(at.link)
	if err != nil {
		return err
	}
	if err := r.mustBeInside(all); err != nil {
		return err
	}
	if err := s.RevertToSnapshot(0); err != nil {
		return fmt.Errorf("libvirt did not set the VM back: %w", virt.Sentence(err))
	}
	r.Done = append(r.Done, "set the disks and the VM's definition back; the snapshot stays")
	return nil
}

// revertExternal takes the overlays off without what is in them.
func revertExternal(at *atGuest, s *libvirt.DomainSnapshot, r *RevertResult) error {
	if err := mustHaveNoChildren(s); err != nil {
		return err
	}
	all, err := readDefinitions(at.link)
	if err != nil {
		return err
	}
	back, err := setBack(all, r.overlays())
	if err != nil {
		return err
	}
	if back != nil {
		if err := defineDisks(at.link.reach(), back); err != nil {
			return err
		}
		r.Done = append(r.Done, "the VM's definition names the images of the snapshot again")
	}
	if err := removeOverlays(at, r); err != nil {
		return err
	}
	if err := s.Delete(libvirt.DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY); err != nil {
		return fmt.Errorf("the VM is set back, but libvirt did not drop its name of the snapshot: %w; try again", virt.Sentence(err))
	}
	return nil
}

// setBack is the VM's definition with the images below the overlays; nil if it names these already.
func setBack(all *definitions, list []overlay) (*libvirtxml.Domain, error) {
	changed := false
	for _, o := range list {
		if o.Base == "" || !exists(o.Base) {
			return nil, fmt.Errorf("disk %s: the image %q, which the VM would be set back to, is not there", o.Target, o.Base)
		}
		n := all.naming(all.inactive, o.File)
		if top := all.naming(all.inactive, o.Base); !n.named() && top.named() && top.above == "" && targetOf(top.disk) == o.Target {
			continue // a run that died came so far
		}
		if err := all.find(o).inPlace(o); err != nil {
			return nil, err
		}
		home, err := withoutOverlay(n, o)
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", o.Target, err)
		}
		*n.disk = *home
		changed = true
	}
	if !changed {
		return nil, nil
	}
	return all.inactive, nil
}

// diskElements are the disks in a domain's XML as libvirt writes it.
var diskElements = regexp.MustCompile(`(?s)<disk .*?</disk>`)

// besidesDisks is a domain's XML without its disks, line by line, in no order: libvirt may change that of the controllers.
func besidesDisks(text string) []string {
	lines := strings.Split(diskElements.ReplaceAllString(text, ""), "\n")
	slices.Sort(lines)
	return lines
}

// defineDisks defines a domain anew, all disks at once. Should anything but its disks differ afterwards, as something
// that this program's library does not know would, then what was defined before is put back.
func defineDisks(d *libvirt.Domain, x *libvirtxml.Domain) error {
	before, err := definition(d)
	if err != nil {
		return err
	}
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	conn, err := d.DomainGetConnect()
	if err != nil {
		return virt.Sentence(err)
	}
	defer conn.Close()
	define := func(text string) error {
		defined, err := conn.DomainDefineXML(text)
		if err != nil {
			return virt.Sentence(err)
		}
		return defined.Free()
	}
	if err := define(text); err != nil {
		return fmt.Errorf("libvirt does not take the VM's definition with the images of the snapshot: %w", err)
	}
	after, err := definition(d)
	if err == nil && slices.Equal(besidesDisks(after), besidesDisks(before)) {
		return nil
	}
	if undoing := define(before); undoing != nil {
		return fmt.Errorf("the VM's definition lost something when its disks were changed, and the old one cannot be put back: %w; compare it with the one in the last backup", undoing)
	}
	return errors.New("the VM's definition would lose something that vaultfs does not know: it was left as it was; with virsh edit set each disk's <source> back to the snapshot's image and remove the disk's <backingStore>")
}

// removeOverlays removes the overlays, once no definition names them.
func removeOverlays(at *atGuest, r *RevertResult) error {
	all, err := readDefinitions(at.link)
	if err != nil {
		return err
	}
	for _, o := range r.overlays() {
		if p := all.find(o); p.live.named() || p.inactive.named() || p.saved.named() {
			return fmt.Errorf("disk %s: the VM names the overlay %s again: somebody has changed it; look with virsh dumpxml", o.Target, o.File)
		}
	}
	for _, o := range r.overlays() {
		err := os.Remove(o.File)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the VM is set back, but an overlay stays: %w", err)
		}
		if err == nil {
			r.Done = append(r.Done, fmt.Sprintf("removed the overlay of disk %s", o.Target))
		}
	}
	r.removeDirs(at.stateDir)
	return nil
}

// mustHaveNoChildren refuses a snapshot that later ones lie on.
func mustHaveNoChildren(s *libvirt.DomainSnapshot) error {
	children, err := s.ListAllChildren(0)
	if err != nil {
		return virt.Sentence(err)
	}
	var names []string
	for i := range children {
		if name, err := children[i].GetName(); err == nil {
			names = append(names, name)
		}
		children[i].Free()
	}
	if len(names) > 0 {
		return fmt.Errorf("later snapshots lie on it (%s): delete those first", strings.Join(names, ", "))
	}
	return nil
}
