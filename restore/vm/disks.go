package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/beevik/etree"

	"vaultfs/repo"
	"vaultfs/restore"
)

// planDisks finds a place for each disk of the snapshot, and rewrites the definition so that it names that place.
func (p *plan) planDisks(context.Context) error {
	found := map[string]bool{}
	for _, e := range devices(p.domain, "disk") {
		target := attr(e, "target", "dev")
		it := p.snap.Item(target)
		if it == nil || it.Kind != repo.ItemDisk {
			p.planLeftOut(e, target)
			continue
		}
		if found[target] {
			return fmt.Errorf("its definition has two disks %s: restore them with --to DEST, and define a VM around them", target)
		}
		found[target] = true
		if err := p.planDisk(e, *it); err != nil {
			return err
		}
	}
	for _, it := range p.snap.Items {
		if it.Kind == repo.ItemDisk && !found[it.Name] {
			p.warn("disk %s is in the snapshot, but the definition that the VM starts from has none of that name, as of a disk that was plugged in for once: if it is needed, restore it with --to DEST", it.Name)
		}
	}
	if len(found) == 0 {
		return errors.New("the snapshot holds none of the disks of its definition: restore what it holds with --to DEST")
	}
	return nil
}

// targetForm is what libvirt calls disks: vda, sdb, nvme0n1.
var targetForm = regexp.MustCompile(`^[a-zA-Z0-9]{1,32}$`)

func (p *plan) planDisk(e *etree.Element, it repo.Item) error {
	if !targetForm.MatchString(it.Name) {
		return fmt.Errorf("disk %q has a name that no disk has: restore it with --to DEST", it.Name)
	}
	format, kept := formatOf(e)
	old := sourceOf(e)
	path, why := p.diskPath(it.Name, format, old, kept)
	if err := p.add(planned{it, path, format}); err != nil {
		return fmt.Errorf("disk %s: %w", it.Name, err)
	}
	if path != old {
		p.change("disk %s: %s (%s) instead of %s%s", it.Name, path, format, cmp.Or(old, "a "+e.SelectAttrValue("type", "file")+" disk"), why)
	}
	if e.SelectElement("encryption") != nil || e.FindElement("./source/encryption") != nil {
		p.warn("disk %s was encrypted by libvirt, and is restored without encryption", it.Name)
	}
	rewriteDisk(e, path, format)
	return nil
}

// formatOf is the format that a disk is restored in. A file stays raw or qcow2 as it was; all else becomes qcow2.
func formatOf(e *etree.Element) (format string, kept bool) {
	driver := e.SelectElement("driver").NotNil().SelectAttrValue("type", restore.Raw) // libvirt's default
	if e.SelectAttrValue("type", "file") == "file" && (driver == restore.Raw || driver == restore.QCOW2) {
		return driver, true
	}
	return restore.QCOW2, false
}

// sourceOf is the path of a file or device, "" of other sources.
func sourceOf(e *etree.Element) string {
	if path := attr(e, "source", "file"); path != "" {
		return path
	}
	return attr(e, "source", "dev")
}

// diskPath is where a disk goes: the directory that was asked for, else where it was if images belong there, else
// libvirt's own directory, and why.
func (p *plan) diskPath(target, format, old string, kept bool) (path, why string) {
	file := p.name + "-" + target + "." + format
	if p.options.DiskDir != "" {
		return filepath.Join(p.options.DiskDir, file), ""
	}
	if kept {
		reason := p.notImagePlace(old)
		if reason == "" {
			return old, ""
		}
		why = ", as " + reason
	}
	return filepath.Join(p.places.images, file), why
}

// rewriteDisk makes an element the one of a single image file. How the guest sees the disk stays as it is.
func rewriteDisk(e *etree.Element, path, format string) {
	removeAll(e, "backingStore", "mirror", "auth", "encryption")
	e.CreateAttr("type", "file")

	driver := e.SelectElement("driver")
	if driver == nil {
		driver = etree.NewElement("driver")
		driver.CreateAttr("name", "qemu")
		e.InsertChildAt(0, driver)
	}
	driver.CreateAttr("type", format)

	old := e.SelectElement("source")
	source := etree.NewElement("source")
	source.CreateAttr("file", path)
	if policy := old.NotNil().SelectAttrValue("startupPolicy", ""); policy != "" {
		source.CreateAttr("startupPolicy", policy)
	}
	for _, label := range old.NotNil().SelectElements("seclabel") {
		source.AddChild(label.Copy())
	}
	e.InsertChildAt(driver.Index()+1, source)
	if old != nil {
		remove(old)
	}
}
