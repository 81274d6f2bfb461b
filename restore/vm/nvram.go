package vm

import (
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
	switch {
	case nvram == nil && it != nil:
		p.warn("%s is in the snapshot, but the definition has no NVRAM: if it is needed, restore it with --to DEST", nvramItem)
		return nil
	case nvram == nil:
		return nil
	}
	old := nvramPath(nvram)
	path := old
	if !p.isFree(path) {
		path = filepath.Join(p.places.nvram, p.name+"_VARS.fd")
	}
	if it == nil {
		p.note("the snapshot holds no firmware variables (NVRAM): libvirt makes fresh ones when the VM is first started")
	} else if err := p.add(planned{item: *it, path: path}); err != nil {
		return fmt.Errorf("NVRAM: %w", err)
	}
	if path != old {
		setNVRAM(nvram, path)
		p.change("NVRAM: %s", path)
	}
	return nil
}

// nvramPath is the file of the variables; "" if they are in none.
func nvramPath(nvram *etree.Element) string {
	if source := nvram.SelectElement("source"); source != nil {
		return source.SelectAttrValue("file", "")
	}
	return strings.TrimSpace(nvram.Text())
}

// setNVRAM makes the variables be in a file.
func setNVRAM(nvram *etree.Element, path string) {
	removeAll(nvram, "source")
	nvram.RemoveAttr("type")
	for _, c := range append([]etree.Token{}, nvram.Child...) {
		nvram.RemoveChild(c)
	}
	nvram.SetText(path)
}

// checkLoader makes sure that the firmware is on this host. What else it boots from may come later.
func (p *plan) checkLoader(boot *etree.Element) error {
	loader := strings.TrimSpace(boot.SelectElement("loader").NotNil().Text())
	if loader != "" && missing(loader) {
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
