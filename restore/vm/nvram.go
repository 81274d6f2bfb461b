package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/beevik/etree"

	"vaultfs/repo"
)

// planNVRAM makes sure of the firmware, and finds a place for its variables.
func (p *plan) planNVRAM(context.Context) error {
	boot := p.domain.SelectElement("os")
	if boot == nil {
		return nil
	}
	if err := p.checkLoader(boot); err != nil {
		return err
	}
	it := p.snap.Item(nvramItem)
	if it != nil && it.Kind != repo.ItemFile {
		it = nil
	}
	nvram := boot.SelectElement("nvram")
	if nvram == nil {
		return p.planChosenNVRAM(boot, it)
	}
	old := nvramPath(nvram)
	path, why := old, p.notNVRAMPlace(old)
	if why != "" {
		path = p.defaultNVRAM()
	}
	if it == nil {
		p.note("the snapshot holds no firmware variables (NVRAM): libvirt makes fresh ones when the VM is first started")
	} else if err := p.add(planned{item: *it, path: path}); err != nil {
		return fmt.Errorf("NVRAM: %w", err)
	}
	setNVRAM(nvram, path)
	if path != old {
		p.change("NVRAM: %s instead of %s, as %s", path, cmp.Or(old, "what was no file"), why)
	}
	return nil
}

// planChosenNVRAM is for a definition that leaves firmware and variables to libvirt: it finds the variables where it
// would make them.
func (p *plan) planChosenNVRAM(boot *etree.Element, it *repo.Item) error {
	uefi := boot.SelectAttrValue("firmware", "") == "efi" && attr(boot, "loader", "stateless") != "yes"
	switch {
	case it == nil && uefi:
		p.note("the snapshot holds no firmware variables (NVRAM): libvirt makes fresh ones when the VM is first started")
	case it == nil:
	case uefi:
		if err := p.add(planned{item: *it, path: p.defaultNVRAM()}); err != nil {
			return fmt.Errorf("NVRAM: %w", err)
		}
	default:
		p.warn("%s is in the snapshot, but the definition has no NVRAM: if it is needed, restore it with --to DEST", nvramItem)
	}
	return nil
}

// defaultNVRAM is the file that libvirt makes for a domain of that name.
func (p *plan) defaultNVRAM() string { return filepath.Join(p.places.nvram, p.name+"_VARS.fd") }

// nvramPath is the file of the variables; "" if they are in none.
func nvramPath(nvram *etree.Element) string {
	if source := nvram.SelectElement("source"); source != nil {
		return source.SelectAttrValue("file", "")
	}
	return strings.TrimSpace(nvram.Text())
}

// setNVRAM makes the variables be in a file.
func setNVRAM(nvram *etree.Element, path string) {
	nvram.RemoveAttr("type")
	setWhole(nvram, path)
}

// checkLoader makes sure that the firmware is on this host. What else it boots from may come later.
func (p *plan) checkLoader(boot *etree.Element) error {
	loader := strings.TrimSpace(boot.SelectElement("loader").NotNil().Text())
	if filepath.IsAbs(loader) && missing(loader) {
		return fmt.Errorf("its firmware %s is not on this host: install it first (ovmf on Debian and Ubuntu, edk2-ovmf on Fedora and RHEL); if it is there under another name, make a link", loader)
	}
	for _, tag := range []string{"kernel", "initrd", "dtb"} {
		if path := strings.TrimSpace(boot.SelectElement(tag).NotNil().Text()); path != "" && missing(path) {
			p.warn("its %s %s is not on this host: the VM does not start without", tag, path)
		}
	}
	if template := attr(boot, "nvram", "template"); template != "" && missing(template) && p.snap.Item(nvramItem) == nil {
		p.warn("the template of its firmware's variables, %s, is not on this host: the VM does not start without", template)
	}
	return nil
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}
