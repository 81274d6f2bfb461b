package vm

import (
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
	"vaultfs/repo"
)

// A checkpoint is libvirt's name for a moment from which on a dirty bitmap in each disk's image marks what the guest
// writes. It is made at the moment that a snapshot is of, and named after the repository and the snapshot, so that
// several repositories do not get in each other's way. The bitmap is a hint only: one that is missing, broken or not
// ours makes its disk be read as a whole.

// checkpointDescription is what virsh checkpoint-info shows of one.
const checkpointDescription = "for the next backup by vaultfs"

// checkpointPrefix begins the names of a repository's checkpoints.
func checkpointPrefix(r *repo.Repo) string { return "vaultfs-" + r.ID()[:8] + "-" }

// checkpointName is the name of the checkpoint of a snapshot.
func checkpointName(r *repo.Repo, snapshot string) string {
	return checkpointPrefix(r) + snapshot[:16]
}

// ownCheckpoints are the names of the guest's checkpoints that begin with the prefix.
func ownCheckpoints(d *libvirt.Domain, prefix string) (names []string, err error) {
	all, err := d.ListAllCheckpoints(0)
	if virt.IsCode(err, libvirt.ERR_NO_SUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("its checkpoints: %w", virt.Sentence(err))
	}
	for i := range all {
		name, err := all[i].GetName()
		if err == nil && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
		all[i].Free()
	}
	slices.Sort(names)
	return names, nil
}

// bitmapOf is what is known of a checkpoint's bitmap of one disk.
type bitmapOf struct {
	exists bool   // the checkpoint is of this disk
	whole  bool   // the bitmap can be used
	image  string // the image that the disk had when the checkpoint was made, see imageName; "" if that is not known
}

// imageName tells an image from another one that is put in its place, of which a path cannot tell: by its inode. A file
// that was swapped for a copy of an earlier time has a bitmap of the same name, and it may be whole. "" of what has no
// inode here, such as a block device or a volume.
func (d *disk) imageName() string {
	if d.kind != "file" {
		return ""
	}
	st, err := os.Stat(d.path)
	if err != nil || !st.Mode().IsRegular() {
		return ""
	}
	return fmt.Sprintf("%s:%d", d.target, st.Sys().(*syscall.Stat_t).Ino)
}

// imagesIn begins the list of images in a checkpoint's description.
const imagesIn = "; inodes "

// notedImages reads the list of images, by target, from a checkpoint's description.
func notedImages(description string) map[string]string {
	images := map[string]string{}
	_, list, _ := strings.Cut(description, imagesIn)
	for image := range strings.FieldsSeq(list) {
		target, _, _ := strings.Cut(image, ":")
		images[target] = image
	}
	return images
}

// checkpointBitmaps tells, by target, of a running guest's disks. libvirt gives the size of what is dirty only where
// the bitmap is there and consistent.
func checkpointBitmaps(d *libvirt.Domain, name string) (map[string]bitmapOf, error) {
	return describedBitmaps(d, name, libvirt.DOMAIN_CHECKPOINT_XML_SIZE)
}

// describedBitmaps is what libvirt knows of a checkpoint's bitmaps. Without the flag that asks QEMU none is known to be
// whole, and the guest need not run.
func describedBitmaps(d *libvirt.Domain, name string, flags libvirt.DomainCheckpointXMLFlags) (map[string]bitmapOf, error) {
	cp, err := d.CheckpointLookupByName(name, 0)
	if err != nil {
		return nil, virt.Sentence(err)
	}
	defer cp.Free()
	text, err := cp.GetXMLDesc(flags | libvirt.DOMAIN_CHECKPOINT_XML_NO_DOMAIN)
	if err != nil {
		return nil, virt.Sentence(err)
	}
	return parseBitmaps(text)
}

func parseBitmaps(text string) (map[string]bitmapOf, error) {
	var x struct {
		Description string `xml:"description"`
		Disks       []struct {
			Name       string  `xml:"name,attr"`
			Checkpoint string  `xml:"checkpoint,attr"`
			Size       *string `xml:"size,attr"`
		} `xml:"disks>disk"`
	}
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return nil, fmt.Errorf("the checkpoint's XML: %w", err)
	}
	bitmaps, images := map[string]bitmapOf{}, notedImages(x.Description)
	for _, d := range x.Disks {
		bitmaps[d.Name] = bitmapOf{exists: d.Checkpoint == "bitmap", whole: d.Size != nil, image: images[d.Name]}
	}
	return bitmaps, nil
}

// checkpointXML describes a checkpoint of those disks that can keep a bitmap. libvirt leaves out what is not listed.
func checkpointXML(name string, disks []disk) (string, error) {
	var list []libvirtxml.DomainCheckpointDisk
	description := checkpointDescription + imagesIn
	for i := range disks {
		if disks[i].keepsBitmap() == "" {
			list = append(list, libvirtxml.DomainCheckpointDisk{Name: disks[i].target, Checkpoint: "bitmap"})
			description += disks[i].imageName() + " "
		}
	}
	x := libvirtxml.DomainCheckpoint{Name: name, Description: strings.TrimSpace(description), Disks: &libvirtxml.DomainCheckpointDisks{Disks: list}}
	return x.Marshal()
}

// keepsBitmap says why a disk's image cannot keep a dirty bitmap; "" when it can.
func (d *disk) keepsBitmap() (why string) {
	switch {
	case d.format != "qcow2":
		return fmt.Sprintf("its format is %s, and only qcow2 keeps a dirty bitmap", d.format)
	case qcow2Version(d.path) == 2:
		return "its image is qcow2 of version 2 (compat=0.10), which keeps no dirty bitmap: qemu-img amend -o compat=1.1 makes it newer while the VM is off"
	}
	return ""
}

// qcow2Version is the version that the header of an image tells; 0 of one that cannot be read from here.
// See docs/interop/qcow2.txt in QEMU's sources.
func qcow2Version(path string) uint32 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	var header [8]byte
	if _, err := io.ReadFull(f, header[:]); err != nil || string(header[:4]) != "QFI\xfb" {
		return 0
	}
	return binary.BigEndian.Uint32(header[4:])
}

// removeCheckpoint removes a checkpoint of a running guest and those of its bitmaps that are there. One that is gone is
// no error.
func removeCheckpoint(d *libvirt.Domain, name string) error {
	err := deleteCheckpoint(d, name, 0)
	if err == nil {
		return nil
	}
	if active, inactive := d.IsActive(); inactive != nil || !active {
		return fmt.Errorf("%w; it is removed when the VM is next backed up while it runs", err)
	}
	if removeByDisk(d, name) != nil {
		return err
	}
	return nil
}

// internalSnapshots tells whether the guest has snapshots inside its images. QEMU does not go back to one of these
// while an image has a dirty bitmap, and libvirt stops the guest when it tries.
func internalSnapshots(d *libvirt.Domain) bool {
	n, err := d.SnapshotNum(libvirt.DOMAIN_SNAPSHOT_LIST_INTERNAL)
	return err == nil && n > 0
}
