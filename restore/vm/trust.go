package vm

import (
	"path/filepath"
	"strings"

	"github.com/beevik/etree"

	"vaultfs/internal/virt"
)

// A definition is what the writer of the snapshot made it, and a disk is any bytes: a path in it, followed as root,
// could make a job for cron. So a disk goes back to where it was only if images belong there by the word of this host.

// imagePlaces are directories of this host that disk images belong in.
type imagePlaces struct {
	trees []string        // with all below them
	dirs  map[string]bool // by themselves
}

// findImagePlaces takes libvirt's own directory, storage pools of files, and the directories of the domains' images.
func (p *plan) findImagePlaces() imagePlaces {
	return imagePlaces{append(poolTargets(p.host), p.places.images), p.taken.imageDirs}
}

// poolTargets are the directories of the storage pools that consist of files. Where libvirt's storage daemon is not
// installed there are none.
func poolTargets(h *virt.Host) (dirs []string) {
	pools, err := h.Conn.ListAllStoragePools(0)
	if err != nil {
		return nil
	}
	for i := range pools {
		if text, err := pools[i].GetXMLDesc(0); err == nil {
			dirs = append(dirs, poolTarget(text)...)
		}
		pools[i].Free()
	}
	return dirs
}

// poolTarget is the directory of a pool of files; none of one that makes devices, such as LVM's in /dev.
func poolTarget(text string) []string {
	doc := etree.NewDocument()
	if doc.ReadFromString(text) != nil || doc.Root() == nil {
		return nil
	}
	switch doc.Root().SelectAttrValue("type", "") {
	case "dir", "fs", "netfs":
		if dir := strings.TrimSpace(doc.FindElement("./pool/target/path").NotNil().Text()); filepath.IsAbs(dir) {
			return []string{dir}
		}
	}
	return nil
}

// holds reports whether a path may be an image's.
func (w imagePlaces) holds(path string) bool {
	for _, tree := range w.trees {
		if below(tree, path) {
			return true
		}
	}
	dir := filepath.Dir(path)
	return w.dirs[dir] && below(dir, path)
}

// below reports whether a path is in a directory or in one below it, and on the way there nothing is hidden: a pool may
// be somebody's home, where .ssh is.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return false
	}
	return !strings.HasPrefix(rel, ".") && !strings.Contains(rel, "/.")
}

// addImageDir notes where a domain has an image that it writes to.
func (t *taken) addImageDir(disk *etree.Element) {
	path := attr(disk, "source", "file")
	if disk.SelectAttrValue("device", "disk") == "disk" && disk.SelectElement("readonly") == nil && filepath.IsAbs(path) {
		t.imageDirs[filepath.Dir(path)] = true
	}
}

// notImagePlace says why a disk does not go back to where it was; "" if it may.
func (p *plan) notImagePlace(path string) string {
	if why := p.notFree(path); why != "" {
		return why
	}
	if !p.images.holds(path) {
		return "that is neither in a storage pool nor in a directory of another VM's images (--disk-dir chooses a directory)"
	}
	return ""
}

// notNVRAMPlace says why the firmware's variables do not go back to where they were; "" if they may.
func (p *plan) notNVRAMPlace(path string) string {
	if why := p.notFree(path); why != "" {
		return why
	}
	if !below(p.places.nvram, path) {
		return "that is not below " + p.places.nvram
	}
	return ""
}

// warnOfReach tells of what lets the guest reach the host beyond its disks, for it is the snapshot that asks for it.
func (p *plan) warnOfReach() {
	for _, e := range p.domain.ChildElements() {
		if (e.Tag == "commandline" || e.Tag == "override") && e.Space != "" {
			var words []string
			for _, arg := range e.ChildElements() {
				if word := firstAttr(arg, "value", "name", "alias"); word != "" {
					words = append(words, word)
				}
			}
			p.warn("the snapshot's definition changes QEMU's command line (%s: %s): look with virsh edit whether that is meant", e.FullTag(), strings.Join(words, " "))
		}
	}
	for _, of := range devices(p.domain, "filesystem") {
		what := firstAttr(of.SelectElement("source").NotNil(), "dir", "file", "dev", "name", "socket")
		p.warn("the snapshot's definition shares %s of this host with the guest: take that out with virsh edit if it is not meant", what)
	}
	for _, tag := range []string{"serial", "parallel", "channel", "console"} {
		for _, port := range devices(p.domain, tag) {
			p.warnOfLog(port)
		}
	}
}

// logDirs are where libvirt's and QEMU's own logs are.
const logDirs = "/var/log/libvirt"

// warnOfLog tells of a port whose output goes to a file of the host, as root writes it; a console is the first serial
// port once more.
func (p *plan) warnOfLog(port *etree.Element) {
	path := attr(port, "log", "file")
	if port.SelectAttrValue("type", "") == "file" {
		path = attr(port, "source", "path")
	}
	if path == "" || below(logDirs, path) || p.images.holds(path) || p.told[path] {
		return
	}
	p.told[path] = true
	p.warn("the snapshot's definition has the guest's %s port written to %s of this host: change that with virsh edit if it is not meant", port.Tag, path)
}
