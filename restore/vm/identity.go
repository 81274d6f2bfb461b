package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// identify gives the domain a name, a UUID and MAC addresses that no other domain of the host has.
func (p *plan) identify(context.Context) error {
	if err := p.chooseName(); err != nil {
		return err
	}
	if err := p.chooseUUID(); err != nil {
		return err
	}
	p.result.Name, p.result.UUID = p.name, p.uuid
	p.renewGenerationID()
	p.chooseMACs()
	p.dropAutomatic()
	p.note("whether it was started with the host is not in a backup: virsh autostart makes it so")
	return nil
}

func (p *plan) chooseName() error {
	old := strings.TrimSpace(p.domain.SelectElement("name").NotNil().Text())
	p.name = old
	if p.options.Name != "" {
		p.name = p.options.Name
	}
	if err := checkName(p.name); err != nil {
		return err
	}
	if err := p.nameIsFree(); err != nil {
		return err
	}
	if p.name != old {
		p.change("name: %s instead of %s", p.name, old)
	}
	setText(p.domain, "name", p.name)
	p.domain.RemoveAttr("id")
	return nil
}

// checkName refuses what libvirt does not take, and what could not be part of a file's name.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("it has no name: give one with --name")
	case len(name) > 200 || strings.Trim(name, ".") == "" || strings.ContainsRune(name, '/') || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("this cannot be the name of a VM: give another one with --name")
	}
	return nil
}

func (p *plan) nameIsFree() error {
	d, err := p.host.Conn.LookupDomainByName(p.name)
	switch {
	case err == nil:
		d.Free()
		return fmt.Errorf("it exists on %s, and is not touched: restore under another name with --name NEW", p.host.URI)
	case !virt.IsCode(err, libvirt.ERR_NO_DOMAIN):
		return virt.Sentence(err)
	}
	return nil
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// chooseUUID keeps the UUID unless a domain of the host has it.
func (p *plan) chooseUUID() error {
	old := strings.ToLower(strings.TrimSpace(p.domain.SelectElement("uuid").NotNil().Text()))
	owner, err := p.ownerOf(old)
	if err != nil {
		return err
	}
	if p.uuid = old; owner == "" && uuidForm.MatchString(old) {
		setText(p.domain, "uuid", p.uuid)
		return nil
	}
	p.uuid = newUUID()
	setText(p.domain, "uuid", p.uuid)
	// Libvirt refuses a definition whose SMBIOS states another one.
	for _, e := range p.domain.FindElements("./sysinfo/system/entry[@name='uuid']") {
		e.SetText(p.uuid)
	}
	if owner == "" {
		p.change("UUID: %s, as the definition had none", p.uuid)
	} else {
		p.change("UUID: %s instead of %s, which VM %q has", p.uuid, old, owner)
	}
	return nil
}

// ownerOf is the name of the domain that has a UUID, "" if none does.
func (p *plan) ownerOf(uuid string) (string, error) {
	if !uuidForm.MatchString(uuid) {
		return "", nil
	}
	d, err := p.host.Conn.LookupDomainByUUIDString(uuid)
	if virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
		return "", nil
	}
	if err != nil {
		return "", virt.Sentence(err)
	}
	defer d.Free()
	name, err := d.GetName()
	return name, virt.Sentence(err)
}

// newUUID is a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// renewGenerationID tells the guest that it has gone back in time, as a domain controller must know (libvirt's <genid>,
// Microsoft's Virtual Machine Generation ID: it changes whenever a VM is restored from a backup).
func (p *plan) renewGenerationID() {
	if e := p.domain.SelectElement("genid"); e != nil && strings.TrimSpace(e.Text()) != "" {
		e.SetText(newUUID())
		p.change("generation ID: a new one, so that the guest knows that it was restored")
	}
}

// macPrefix is QEMU's vendor prefix.
const macPrefix = "52:54:00"

// chooseMACs keeps the MAC addresses that no domain of the host has. A copy of a guest of another host gets new ones: the
// first may run there.
func (p *plan) chooseMACs() {
	elsewhere := p.fromElsewhere()
	var kept []string
	mine := map[string]string{}
	for _, card := range devices(p.domain, "interface") {
		mac := card.SelectElement("mac")
		if mac == nil {
			continue
		}
		old := strings.ToLower(mac.SelectAttrValue("address", ""))
		reason := ""
		if owner := p.taken.macs[old]; owner != "" {
			reason = fmt.Sprintf("which VM %q has", owner)
		} else if elsewhere && p.options.Name != "" {
			reason = fmt.Sprintf("which the VM that was backed up on host %s has", p.snap.Info.Host)
		}
		if reason != "" {
			address := newMAC(p.taken.macs, mine)
			mac.CreateAttr("address", address)
			p.change("MAC: %s instead of %s, %s", address, old, reason)
			old = address
		} else {
			kept = append(kept, old)
		}
		mine[old] = p.name
	}
	if elsewhere {
		p.warnOfTwin(kept)
	}
}

// fromElsewhere tells whether the backup was made on another host.
func (p *plan) fromElsewhere() bool {
	self, err := os.Hostname()
	return err == nil && p.snap.Info.Host != "" && p.snap.Info.Host != self
}

// warnOfTwin warns of what the guest has in common with the one that was backed up, which this host does not see.
func (p *plan) warnOfTwin(macs []string) {
	var common []string
	if p.uuid != "" && p.uuid == strings.ToLower(p.snap.Info.Machine) {
		common = append(common, "UUID "+p.uuid)
	}
	if len(macs) > 0 {
		common = append(common, "MAC "+strings.Join(macs, ", "))
	}
	if len(common) == 0 {
		return
	}
	hint := ""
	if p.options.Name == "" {
		hint = "; --name NEW makes a copy with MAC addresses of its own"
	}
	p.warn("it was backed up on host %s, and keeps what it had there (%s): if it still runs there, do not run both at a time%s", p.snap.Info.Host, strings.Join(common, "; "), hint)
}

// newMAC is a random address that is in none of the lists.
func newMAC(lists ...map[string]string) string {
	for {
		var b [3]byte
		_, _ = rand.Read(b[:]) // never fails
		address := fmt.Sprintf("%s:%02x:%02x:%02x", macPrefix, b[0], b[1], b[2])
		free := true
		for _, list := range lists {
			if _, has := list[address]; has {
				free = false
			}
		}
		if free {
			return address
		}
	}
}

// automatic is the part of a path by which a socket that libvirt has named itself is known: it names the old domain.
const automatic = "/libvirt/qemu/channel/"

// dropAutomatic leaves it to libvirt to name the sockets that it had named before.
func (p *plan) dropAutomatic() {
	for _, channel := range devices(p.domain, "channel") {
		if strings.Contains(attr(channel, "source", "path"), automatic) {
			removeAll(channel, "source")
		}
	}
}

// setText makes a text all that a child holds, which is there or is made. Else libvirt, which takes together what elements
// divide, might read another one.
func setText(parent *etree.Element, tag, text string) {
	e := parent.SelectElement(tag)
	if e == nil {
		e = parent.CreateElement(tag)
	}
	setWhole(e, text)
}

func setWhole(e *etree.Element, text string) {
	for len(e.Child) > 0 {
		e.RemoveChildAt(0)
	}
	e.SetText(text)
}
