package vm

import (
	"fmt"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// agentChannel is the virtio-serial port that the QEMU guest agent listens on.
const agentChannel = "org.qemu.guest_agent.0"

// guest is what the ingest needs to know of a domain's XML.
type guest struct {
	name, uuid string
	disks      []disk    // that are read, in the order of the XML
	left       []leftOut // that are not
	agent      agent
	label      label // of the QEMU process; known of a running guest only
}

// disk is one disk that is read.
type disk struct {
	target string // "vda": the item's name
	kind   string // file, block, volume, network
	format string // what libvirt gives QEMU; never probed
	path   string // of a file or block device; else what to call it: "pool/volume", "rbd:pool/image"
	volume *libvirtxml.DomainDiskSourceVolume
	// backing is the chain below as the XML states it, top first; nil and false when the XML does not state it.
	backing    []layer
	hasBacking bool
	onError    string // error_policy: what QEMU does when a write fails, "stop", "report"; "" is QEMU's own, see space_policy.go
	special    string // why the image cannot be read offline: "it is encrypted"; "" when it can
}

// layer is one image of a backing chain.
type layer struct {
	path, format string
}

// leftOut is a disk that does not go into the snapshot.
type leftOut struct {
	target, why string
	data        bool // the guest may keep data on it that nothing else holds
}

func (l leftOut) String() string { return fmt.Sprintf("disk %s left out: %s", l.target, l.why) }

// agent is the state of the guest agent's channel.
type agent struct {
	channel, connected bool
}

// label is how libvirt confines the QEMU process.
type label struct {
	owner    string // "+64055:+64055", user:group; "" when libvirt does not change it
	confined string // "apparmor", "selinux" or ""
}

// parseGuest reads the XML of a domain.
func parseGuest(text string) (*guest, error) {
	var x libvirtxml.Domain
	if err := x.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("the domain's XML: %w", err)
	}
	g := &guest{name: x.Name, uuid: x.UUID, label: labelOf(x.SecLabel)}
	if x.Devices == nil {
		return g, nil
	}
	for i := range x.Devices.Disks {
		d := &x.Devices.Disks[i]
		if why, data := leaveOut(d); why != "" {
			g.left = append(g.left, leftOut{targetOf(d), why, data})
			continue
		}
		g.disks = append(g.disks, diskOf(d))
	}
	for _, c := range x.Devices.Channels {
		if c.Target != nil && c.Target.VirtIO != nil && c.Target.VirtIO.Name == agentChannel {
			g.agent = agent{channel: true, connected: c.Target.VirtIO.State == "connected"}
		}
	}
	return g, nil
}

// leaveOut says why a disk is not read; "" when it is.
func leaveOut(d *libvirtxml.DomainDisk) (why string, data bool) {
	switch d.Device {
	case "cdrom":
		return "a CD-ROM", false
	case "floppy":
		return "a floppy", false
	case "lun":
		return "a SCSI device passed through to the guest", true
	}
	s := d.Source
	switch {
	case s == nil || sourceKind(s) == "":
		return "empty", false
	case d.Transient != nil:
		return "transient, its changes are dropped when the guest stops", false
	case d.ReadOnly != nil:
		return "read-only", false
	}
	switch kind := sourceKind(s); kind {
	case "file", "block", "volume", "network":
		return "", false
	default:
		return fmt.Sprintf("passed through from the host (%s)", kind), true
	}
}

// sourceKind is the disk's type as libvirt writes it; "" for a drive with nothing in it.
func sourceKind(s *libvirtxml.DomainDiskSource) string {
	switch {
	case s.File != nil:
		if s.File.File == "" {
			return ""
		}
		return "file"
	case s.Block != nil:
		if s.Block.Dev == "" {
			return ""
		}
		return "block"
	case s.Volume != nil:
		return "volume"
	case s.Network != nil:
		return "network"
	case s.Dir != nil:
		return "dir"
	case s.NVME != nil:
		return "nvme"
	case s.VHostUser != nil:
		return "vhostuser"
	case s.VHostVDPA != nil:
		return "vhostvdpa"
	}
	return ""
}

func targetOf(d *libvirtxml.DomainDisk) string {
	if d.Target == nil {
		return ""
	}
	return d.Target.Dev
}

func diskOf(d *libvirtxml.DomainDisk) disk {
	s := d.Source
	out := disk{target: targetOf(d), kind: sourceKind(s), format: "raw", path: pathOf(s), volume: s.Volume}
	if d.Driver != nil && d.Driver.Type != "" {
		out.format = d.Driver.Type
	}
	if d.Driver != nil {
		out.onError = d.Driver.ErrorPolicy
	}
	switch {
	case d.Encryption != nil || s.Encryption != nil:
		out.special = "it is encrypted"
	case s.DataStore != nil:
		out.special = "its data is in a separate file"
	case s.Slices != nil:
		out.special = "it is a slice of a larger image"
	}
	out.backing, out.hasBacking = backingOf(d.BackingStore, &out.special)
	return out
}

// backingOf unrolls <backingStore>; an empty one ends the chain, a missing one leaves it unsaid.
func backingOf(b *libvirtxml.DomainDiskBackingStore, special *string) (chain []layer, said bool) {
	for ; b != nil; b = b.BackingStore {
		if b.Source == nil || sourceKind(b.Source) == "" {
			return chain, true
		}
		if b.Format == nil {
			return nil, false
		}
		if kind := sourceKind(b.Source); kind != "file" && kind != "block" {
			*special = fmt.Sprintf("its backing image %s is neither a file nor a block device", pathOf(b.Source))
		}
		chain = append(chain, layer{pathOf(b.Source), b.Format.Type})
	}
	return nil, false
}

// pathOf is the path of a file or block device, or what to call another source.
func pathOf(s *libvirtxml.DomainDiskSource) string {
	switch {
	case s.File != nil:
		return s.File.File
	case s.Block != nil:
		return s.Block.Dev
	case s.Volume != nil:
		return s.Volume.Pool + "/" + s.Volume.Volume
	case s.Network != nil:
		return s.Network.Protocol + ":" + s.Network.Name
	}
	return ""
}

func labelOf(labels []libvirtxml.DomainSecLabel) (l label) {
	for _, s := range labels {
		switch s.Model {
		case "dac":
			l.owner = s.Label
		case "apparmor", "selinux":
			l.confined = s.Model
		}
	}
	return l
}

// sameDisks says which disk differs between two readings of a domain's XML; "" when none does.
func sameDisks(a, b *guest) string {
	known := map[string]string{}
	for _, d := range a.disks {
		known[d.target] = d.path
	}
	for _, d := range b.disks {
		path, ok := known[d.target]
		if !ok || path != d.path {
			return d.target
		}
		delete(known, d.target)
	}
	var gone []string
	for target := range known {
		gone = append(gone, target)
	}
	return strings.Join(gone, ", ")
}

func (g *guest) mustHaveDisks() error {
	if len(g.disks) > 0 {
		return nil
	}
	if len(g.left) == 0 {
		return fmt.Errorf("VM %q has no disks: there is nothing to back up", g.name)
	}
	return fmt.Errorf("VM %q has no disk that can be backed up (%s)", g.name, joinLeft(g.left))
}

func joinLeft(left []leftOut) string {
	text := make([]string, len(left))
	for i, l := range left {
		text[i] = l.String()
	}
	return strings.Join(text, "; ")
}
