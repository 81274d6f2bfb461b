package vm

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// checkEmulator asks libvirt whether it can run such a machine at all. An emulator that is not where it was is left for
// libvirt to choose.
func (p *plan) checkEmulator(context.Context) error {
	var emulator string
	for _, e := range devices(p.domain, "emulator") {
		if emulator = strings.TrimSpace(e.Text()); missing(emulator) {
			p.change("emulator: libvirt's own choice, as %s is not on this host", emulator)
			remove(e)
			emulator = ""
		}
	}
	kind := p.domain.FindElement("./os/type").NotNil()
	arch, machine, virtType := kind.SelectAttrValue("arch", ""), kind.SelectAttrValue("machine", ""), p.domain.SelectAttrValue("type", "")
	if _, err := p.host.Conn.GetDomainCapabilities(emulator, arch, machine, virtType, 0); err != nil {
		return fmt.Errorf("libvirt cannot run such a machine here (type %s, arch %s, machine %s): %w", virtType, arch, machine, virt.Sentence(err))
	}
	return nil
}

// lookAround warns of what the guest needs from the host besides files that are restored. It is defined all the same:
// the network may come later.
func (p *plan) lookAround() {
	for _, card := range devices(p.domain, "interface") {
		p.lookAtInterface(card)
	}
	for _, of := range devices(p.domain, "filesystem") {
		if dir := attr(of, "source", "dir"); dir != "" && missing(dir) {
			p.warn("the folder %s that it shares with the host does not exist: make it before the VM is started", dir)
		}
	}
	p.lookAtPorts()
	p.lookAtPaths()
}

// lookAtPorts warns of a log or socket that a domain of the host has too. Libvirt names a serial port again as a console.
func (p *plan) lookAtPorts() {
	told := map[string]bool{}
	for _, tag := range []string{"serial", "console", "parallel", "channel"} {
		for _, port := range devices(p.domain, tag) {
			path := attr(port, "source", "path")
			vm := p.taken.paths[path]
			if vm == "" || told[path] || strings.HasPrefix(path, "/dev/") {
				continue
			}
			told[path] = true
			p.warn("its %s port goes to %s, as that of VM %q does: change one of them with virsh edit if both are to run at a time", tag, path, vm)
		}
	}
}

func (p *plan) lookAtInterface(card *etree.Element) {
	switch card.SelectAttrValue("type", "") {
	case "network":
		name := attr(card, "source", "network")
		n, err := p.host.Conn.LookupNetworkByName(name)
		if virt.IsCode(err, libvirt.ERR_NO_NETWORK) {
			p.warn("its network %q does not exist here: define it, or change the VM with virsh edit, before it is started", name)
		}
		if err != nil {
			return
		}
		defer n.Free()
		if active, err := n.IsActive(); err == nil && !active {
			p.warn("its network %q is not active: start it with virsh net-start before the VM is started", name)
		}
	case "bridge":
		if name := attr(card, "source", "bridge"); name != "" && missing("/sys/class/net/"+name) {
			p.warn("its bridge %s does not exist here: make it, or change the VM with virsh edit, before it is started", name)
		}
	case "direct":
		if name := attr(card, "source", "dev"); name != "" && missing("/sys/class/net/"+name) {
			p.warn("its network device %s does not exist here: change the VM with virsh edit before it is started", name)
		}
	}
}

// lookAtPaths warns of directories that QEMU's user cannot pass, as far as the modes tell. Libvirt gives it the files
// when it starts the guest, but not the way there.
func (p *plan) lookAtPaths() {
	uid, gid, ok := p.qemuUser()
	if !ok {
		return
	}
	for _, dir := range p.needs() {
		if p.tpm != nil && dir == p.places.tpm {
			continue // swtpm's, and as libvirt makes it
		}
		if at := impassable(existing(dir), uid, gid); at != "" {
			p.warn("QEMU's user cannot pass %s, as its mode says: if the VM does not start, chmod o+x it, or choose another directory with --disk-dir", at)
		}
	}
}

// qemuUser is the user and group that QEMU runs as, as libvirt's capabilities state it.
func (p *plan) qemuUser() (uid, gid uint32, ok bool) {
	text, err := p.host.Conn.GetCapabilities()
	if err != nil {
		return 0, 0, false
	}
	doc := etree.NewDocument()
	if doc.ReadFromString(text) != nil {
		return 0, 0, false
	}
	for _, model := range doc.FindElements("./capabilities/host/secmodel") {
		if model.SelectElement("model").NotNil().Text() == "dac" {
			n, err := fmt.Sscanf(model.SelectElement("baselabel").NotNil().Text(), "+%d:+%d", &uid, &gid)
			return uid, gid, n == 2 && err == nil && uid != 0
		}
	}
	return 0, 0, false
}

// impassable is the first directory on the way that a user cannot pass, "" if there is none.
func impassable(dir string, uid, gid uint32) string {
	for at := "/"; ; {
		info, err := os.Stat(at)
		if err != nil || !mayPass(info, uid, gid) {
			return at
		}
		rest := strings.Trim(strings.TrimPrefix(dir, at), "/")
		if rest == "" {
			return ""
		}
		next, _, _ := strings.Cut(rest, "/")
		at = strings.TrimSuffix(at, "/") + "/" + next
	}
}

func mayPass(info os.FileInfo, uid, gid uint32) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return true
	case st.Uid == uid:
		return info.Mode()&0o100 != 0
	case st.Gid == gid:
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}
