package vzdump

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"regexp"
	"strings"
	"time"

	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// storeVM stores the archive of a virtual machine: its drives as disks, its
// configuration as files.
func (g *ingestion) storeVM(ctx context.Context, in io.Reader) error {
	v, err := vma.NewReader(in)
	if err != nil {
		return broken(err)
	}
	h := v.Header()
	when := created(h)
	if err := g.open(ctx, guestVM, machineOf(h), when); err != nil {
		return err
	}
	g.description.Format, g.description.UUID, g.description.Created = vma.FormatVMA, hex.EncodeToString(h.UUID[:]), h.Created
	g.description.Name = g.archiveName(when)
	for _, c := range h.Configs {
		name := g.itemName(c.Name)
		if err := g.addFile(ctx, name, bytes.NewReader(c.Data), g.origin("vma"), ""); err != nil {
			return err
		}
		g.description.Configs = append(g.description.Configs, vma.DescribedConfig{Name: c.Name, Item: name})
	}
	roots, err := assemble(ctx, g.session, v, g.options.StateDir)
	if err != nil {
		return err
	}
	if g.packed == "" && len(h.Drives) > 0 {
		g.session.Note("the archive was not compressed: nothing in it covers what its drives hold, so that damage there would not have been seen")
	}
	for i, d := range h.Drives {
		it := repo.Item{Name: g.itemName(d.Name), Kind: repo.ItemDisk, Size: d.Size, Root: roots[i], Origin: g.origin("vma")}
		if err := g.session.AddItem(it); err != nil {
			return err
		}
		g.description.Drives = append(g.description.Drives, vma.DescribedDrive{ID: d.ID, Name: d.Name, Size: d.Size, Item: it.Name})
	}
	return nil
}

// archiveName is what the archive is called when it is computed again. One that
// came as a stream gets the name that vzdump would have given it.
func (g *ingestion) archiveName(when time.Time) string {
	if g.path != Stream {
		return plainName(g.path, ".vma")
	}
	if when.IsZero() {
		when = time.Now()
	}
	return plainName(strings.ReplaceAll("vzdump-qemu-"+g.options.Name+when.Local().Format("-2006_01_02-15_04_05"), "/", "-"), ".vma")
}

// created is when the archive was begun, zero if its header cannot be believed.
func created(h *vma.Header) time.Time {
	t := time.Unix(h.Created, 0)
	if h.Created <= 0 || t.Year() > 2200 {
		return time.Time{}
	}
	return t
}

// smbios finds the UUID that firmware shows the guest, which Proxmox VE makes for
// a virtual machine when that is created.
var smbios = regexp.MustCompile(`(?i)^smbios1:(?:.*[\s,])?uuid=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:,|\s*$)`)

// machineOf tells the guest from another of the same number: by its UUID, if the
// configuration has one; else as some virtual machine. Only what stands before
// the first section counts: a section is the configuration as of a snapshot.
func machineOf(h *vma.Header) string {
	for _, c := range h.Configs {
		if c.Name != "qemu-server.conf" {
			continue
		}
		for line := range strings.Lines(string(c.Data)) {
			if strings.HasPrefix(line, "[") {
				break
			}
			if m := smbios.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
				return strings.ToLower(m[1])
			}
		}
	}
	return guestVM
}
