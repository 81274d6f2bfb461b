package vm

import (
	"encoding/xml"
	"fmt"
	"strings"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// addSnapshots keeps what libvirt knows of the domain's snapshots, parents first, as one XML document.
func (m *machine) addSnapshots(vm string, d *libvirt.Domain) {
	all, err := d.ListAllSnapshots(libvirt.DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL)
	var current string
	var list []string
	for i := range all {
		s := &all[i]
		text, failed := s.GetXMLDesc(libvirt.DOMAIN_SNAPSHOT_XML_SECURE)
		if is, _ := s.IsCurrent(0); is && err == nil {
			current, err = s.GetName()
		}
		if failed != nil {
			err = failed
		}
		list = append(list, text)
		s.Free()
	}
	m.addList(vm, snapshotsItem, "snapshots", current, list, err)
}

// addCheckpoints keeps what libvirt knows of the domain's checkpoints, parents first, as one XML document.
func (m *machine) addCheckpoints(vm string, d *libvirt.Domain) {
	all, err := d.ListAllCheckpoints(libvirt.DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)
	var list []string
	for i := range all {
		c := &all[i]
		text, failed := c.GetXMLDesc(libvirt.DOMAIN_CHECKPOINT_XML_SECURE)
		if failed != nil {
			err = failed
		}
		list = append(list, text)
		c.Free()
	}
	m.addList(vm, checkpointsItem, "checkpoints", "", list, err)
}

// addList keeps some XML documents as one, whose root names the current one if there is such a thing.
func (m *machine) addList(vm, item, root, current string, list []string, err error) {
	if virt.IsCode(err, libvirt.ERR_NO_SUPPORT) {
		return // of a driver that knows no such thing there are none
	}
	if err != nil {
		m.warn(vm, "what libvirt knows of its %s is not in the backup: %v", root, virt.Sentence(err))
		return
	}
	if len(list) == 0 {
		return
	}
	if current != "" {
		current = fmt.Sprintf(" current=\"%s\"", escaped(current))
	}
	m.add(item, fmt.Appendf(nil, "<%s%s>\n%s</%[1]s>\n", root, current, strings.Join(list, "")))
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
