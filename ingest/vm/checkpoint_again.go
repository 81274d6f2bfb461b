package vm

import (
	"fmt"
	"slices"
	"time"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
	"vaultfs/repo"
)

// A checkpoint is two things: bitmaps in the images, and what libvirt knows of them. Either can be lost alone: virsh
// checkpoint-delete --metadata, or a VM that is undefined and defined again, leaves bitmaps of which libvirt knows
// nothing, which go on marking and cannot be removed; and bitmaps can be taken away under a checkpoint, which libvirt
// then refuses to delete. Both are mended by describing anew to libvirt what there is (VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE).

// ifWhole lets redefine fail where a disk has no whole bitmap of the checkpoint.
const ifWhole = libvirt.DOMAIN_CHECKPOINT_CREATE_REDEFINE | libvirt.DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE

// findAgain has libvirt know the checkpoint of a snapshot again, of those of its disks where the running guest still has
// a whole bitmap. It tells whether there is one.
func findAgain(d *libvirt.Domain, s *repo.Snapshot) bool {
	name := baseCheckpoint(s, nil)
	if name == "" {
		return false
	}
	var whole []string
	for _, it := range s.Items {
		if it.Checkpoint == name && redefine(d, name, []string{it.Name}, ifWhole) == nil {
			whole = append(whole, it.Name)
		}
	}
	return len(whole) > 0 && redefine(d, name, whole, ifWhole) == nil
}

// findOlder has libvirt know again those earlier checkpoints whose bitmap is in a disk of the running guest though libvirt
// has forgotten them, as after its image was set back to an older copy. They are removed with the others.
func (p *plan) findOlder(d *libvirt.Domain, target string) {
	for _, name := range p.made {
		if !slices.Contains(p.old, name) && redefine(d, name, []string{target}, ifWhole) == nil {
			p.old = append(p.old, name)
		}
	}
}

// redefine has libvirt know a checkpoint of those disks, in place of what it knew of it.
func redefine(d *libvirt.Domain, name string, targets []string, flags libvirt.DomainCheckpointCreateFlags) error {
	list := make([]libvirtxml.DomainCheckpointDisk, len(targets))
	for i, target := range targets {
		list[i] = libvirtxml.DomainCheckpointDisk{Name: target, Checkpoint: "bitmap", Bitmap: name}
	}
	x := libvirtxml.DomainCheckpoint{
		Name: name, Description: checkpointDescription, CreationTime: fmt.Sprint(time.Now().Unix()),
		Disks: &libvirtxml.DomainCheckpointDisks{Disks: list},
	}
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	cp, err := d.CreateCheckpointXML(text, flags)
	if err != nil {
		return virt.Sentence(err)
	}
	return cp.Free()
}

// removeByDisk removes a checkpoint of a running guest that libvirt does not delete as a whole, because one of its disks
// or bitmaps is not there any more: one disk after the other, and what libvirt knows of it at last.
func removeByDisk(d *libvirt.Domain, name string) error {
	bitmaps, err := checkpointBitmaps(d, name)
	if err != nil {
		return err
	}
	for target, b := range bitmaps {
		if !b.exists || redefine(d, name, []string{target}, libvirt.DOMAIN_CHECKPOINT_CREATE_REDEFINE) != nil {
			continue // the disk is gone
		}
		deleteCheckpoint(d, name, 0) // of a disk whose bitmap is gone this fails
	}
	return deleteCheckpoint(d, name, libvirt.DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
}

// deleteCheckpoint has libvirt delete one. One that is gone is no error.
func deleteCheckpoint(d *libvirt.Domain, name string, flags libvirt.DomainCheckpointDeleteFlags) error {
	cp, err := d.CheckpointLookupByName(name, 0)
	if err == nil {
		defer cp.Free()
		err = cp.Delete(flags)
	}
	if err == nil || virt.IsCode(err, libvirt.ERR_NO_DOMAIN_CHECKPOINT) {
		return nil
	}
	return virt.Sentence(err)
}
