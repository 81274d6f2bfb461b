package vm

import (
	"context"
	"fmt"
	"slices"

	"libvirt.org/go/libvirt"

	"vaultfs/ingest"
	"vaultfs/internal/nbd"
	"vaultfs/internal/virt"
)

// source is a guest whose disks are open for reading: live or offline.
type source interface {
	opened() []openDisk
	// files are what is kept besides the disks.
	files() ([]file, error)
	// check fails unless all that was read is the guest as it was when the source was opened.
	check(context.Context) error
	// explain puts the cause before an error of reading, if the guest is the cause.
	explain(error) error
	// close leaves the guest as it was found.
	close() error
	// tell puts what is to be said about this way of reading into the result. It is called after close.
	tell(*Result)
}

// file is a small file of the snapshot.
type file struct{ name, text string }

// content is what a disk is read from: a running guest's QEMU, or image files.
type content interface {
	ingest.Image
	Close() error
}

// openDisk is a disk that can be read.
type openDisk struct {
	disk
	content
	marks      *nbd.Client // shows the bitmap, if there is one
	bitmap     string      // NBD's name of the bitmap of what has changed since the base; "" if all is to be read
	whyFull    string      // why there is none
	checkpoint string      // that was made as the disk was opened; "" for none
}

// usable makes sure that the server shows a bitmap.
func usable(c *nbd.Client, bitmap string) (name, whyNot string) {
	if slices.Contains(c.Contexts(), bitmap) {
		return bitmap, ""
	}
	return "", "QEMU does not show its dirty bitmap"
}

// Dirty is the runs that have changed since the base.
func (d openDisk) Dirty(ctx context.Context, off, n int64) ([]ingest.Run, error) {
	return ingest.Exported{Client: d.marks}.Dirty(ctx, d.bitmap, off, n)
}

// definition is the XML that the guest starts from.
func definition(d *libvirt.Domain) (string, error) {
	text, err := d.GetXMLDesc(libvirt.DOMAIN_XML_INACTIVE | libvirt.DOMAIN_XML_SECURE)
	if err != nil {
		return "", fmt.Errorf("the domain's XML: %w", virt.Sentence(err))
	}
	return text, nil
}

// tellPluggedNext warns of disks that a running guest's definition has and the guest itself has not: they are plugged in at
// its next start. Defined is that definition; "" if it was not read.
func tellPluggedNext(g *guest, defined string, r *Result) {
	next, err := parseGuest(defined)
	if defined == "" || err != nil {
		return
	}
	now := map[string]bool{}
	for _, d := range g.disks {
		now[d.target] = true
	}
	for _, l := range g.left {
		now[l.target] = true
	}
	for _, d := range next.disks {
		if !now[d.target] {
			r.Warnings = append(r.Warnings, fmt.Sprintf("VM %q: disk %s (%s) is plugged in at the next start only; it is not in this backup", g.name, d.target, d.path))
		}
	}
}

// tellLeft names the disks that are not in the snapshot; one that may hold data of its own is a warning.
func tellLeft(g *guest, r *Result) {
	for _, l := range g.left {
		if l.data {
			r.Warnings = append(r.Warnings, fmt.Sprintf("VM %q: %v", g.name, l))
		} else {
			r.Notes = append(r.Notes, l.String())
		}
	}
}
