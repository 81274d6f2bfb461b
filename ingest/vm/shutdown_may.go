package vm

import (
	"errors"
	"fmt"
	"os/exec"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
)

// mayStop says why a running guest should not be shut down to be read: it would not come back as it was, or could not be
// read after all.
func mayStop(h *virt.Host, d *libvirt.Domain, name string) error {
	for _, look := range []func() error{
		func() error { return runsPlainly(d) },
		func() error { return comesBack(d) },
		func() error { return noJobs(d, name) },
		func() error { return readableOff(h, d) },
	} {
		if err := look(); err != nil {
			return err
		}
	}
	return nil
}

// runsPlainly refuses states from which a guest cannot shut down.
func runsPlainly(d *libvirt.Domain) error {
	state, _, err := d.GetState()
	switch {
	case err != nil:
		return virt.Sentence(err)
	case state == libvirt.DOMAIN_RUNNING, state == libvirt.DOMAIN_BLOCKED:
		return nil
	case state == libvirt.DOMAIN_PAUSED:
		return errors.New("it is paused, and what does not run cannot shut down: resume it (virsh resume), or use --mode live, which leaves it paused")
	case state == libvirt.DOMAIN_PMSUSPENDED:
		return errors.New("it sleeps (suspended by the guest), and what does not run cannot shut down: wake it (virsh dompmwakeup), or use --mode live")
	case state == libvirt.DOMAIN_SHUTDOWN:
		return errors.New("it is being shut down already: try again when it is off")
	}
	return fmt.Errorf("it is %s: see virsh domstate --reason", stateName(state))
}

// comesBack refuses guests that would be gone, run on, or be different ones after they were shut down.
func comesBack(d *libvirt.Domain) error {
	persistent, err := d.IsPersistent()
	if err != nil {
		return virt.Sentence(err)
	}
	if !persistent {
		return errors.New("it is transient, libvirt forgets it when it is off: define it (virsh define), or use --mode live")
	}
	now, err := domainXML(d, 0)
	if err != nil {
		return err
	}
	next, err := domainXML(d, libvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		return err
	}
	if now.OnPoweroff != "" && now.OnPoweroff != "destroy" {
		return fmt.Errorf("its definition says <on_poweroff>%s</on_poweroff>, so it would not stay off: use --mode live", now.OnPoweroff)
	}
	if what := onlyNow(now, next); what != "" {
		return fmt.Errorf("%s is plugged into the running VM but differs in its definition, and would be gone after the restart: plug it in with --config too (virsh attach-device), or use --mode live", what)
	}
	if what := onlyNext(now, next); what != "" {
		return fmt.Errorf("its definition was changed since it was started (%s), and the restart would bring that into force: restart it yourself when that is meant to be, or use --mode live", what)
	}
	return nil
}

func domainXML(d *libvirt.Domain, flags libvirt.DomainXMLFlags) (*libvirtxml.Domain, error) {
	text, err := d.GetXMLDesc(flags)
	if err != nil {
		return nil, virt.Sentence(err)
	}
	x := new(libvirtxml.Domain)
	if err := x.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("the domain's XML: %w", err)
	}
	if x.Devices == nil {
		x.Devices = new(libvirtxml.DomainDeviceList)
	}
	return x, nil
}

// onlyNow names a disk, network card or host device that the running guest has and its definition has not, or has as
// another one; "" if there is none. The medium of a CD-ROM may differ.
func onlyNow(now, next *libvirtxml.Domain) string {
	path := func(d *libvirtxml.DomainDisk) string {
		if d.Source == nil || d.Device == "cdrom" || d.Device == "floppy" {
			return ""
		}
		return pathOf(d.Source)
	}
	disks, cards := map[string]string{}, map[string]bool{}
	for i := range next.Devices.Disks {
		disks[targetOf(&next.Devices.Disks[i])] = path(&next.Devices.Disks[i])
	}
	for _, n := range next.Devices.Interfaces {
		if n.MAC != nil {
			cards[n.MAC.Address] = true
		}
	}
	for i := range now.Devices.Disks {
		d := &now.Devices.Disks[i]
		if defined, ok := disks[targetOf(d)]; !ok || defined != path(d) {
			return "disk " + targetOf(d)
		}
	}
	for _, n := range now.Devices.Interfaces {
		if n.MAC != nil && !cards[n.MAC.Address] {
			return "network card " + n.MAC.Address
		}
	}
	if len(now.Devices.Hostdevs) > len(next.Devices.Hostdevs) {
		return "a host device"
	}
	return ""
}

// onlyNext says what a restart would change of a guest that has all that onlyNow looks at: memory, processors, machine,
// and what is plugged in at the next start only; "" if there is nothing.
func onlyNext(now, next *libvirtxml.Domain) string {
	for _, one := range []struct{ what, now, next string }{
		{"memory", memoryOf(now), memoryOf(next)},
		{"processors", processorsOf(now), processorsOf(next)},
		{"machine", machineType(now), machineType(next)},
	} {
		if one.now != one.next {
			return fmt.Sprintf("%s: %s, now %s", one.what, one.next, one.now)
		}
	}
	disks, cards := map[string]bool{}, map[string]bool{}
	for i := range now.Devices.Disks {
		disks[targetOf(&now.Devices.Disks[i])] = true
	}
	for _, n := range now.Devices.Interfaces {
		if n.MAC != nil {
			cards[n.MAC.Address] = true
		}
	}
	for i := range next.Devices.Disks {
		if target := targetOf(&next.Devices.Disks[i]); !disks[target] {
			return fmt.Sprintf("disk %s is not plugged in yet", target)
		}
	}
	for _, n := range next.Devices.Interfaces {
		if n.MAC != nil && !cards[n.MAC.Address] {
			return fmt.Sprintf("network card %s is not plugged in yet", n.MAC.Address)
		}
	}
	if len(next.Devices.Hostdevs) > len(now.Devices.Hostdevs) {
		return "a host device is not plugged in yet"
	}
	return ""
}

// memoryOf is all of a guest's memory, which libvirt gives in KiB, and rounds up to MiB when it starts one. What of it
// the balloon leaves to the guest may change while it runs.
func memoryOf(x *libvirtxml.Domain) string {
	if x.Memory == nil {
		return "none"
	}
	return fmt.Sprintf("%d MiB", (x.Memory.Value+1023)/1024)
}

// processorsOf is how many processors are plugged in, and how many may be.
func processorsOf(x *libvirtxml.Domain) string {
	if x.VCPU == nil {
		return "none"
	}
	current := x.VCPU.Current
	if current == 0 {
		current = x.VCPU.Value
	}
	return fmt.Sprintf("%d of %d", current, x.VCPU.Value)
}

func machineType(x *libvirtxml.Domain) string {
	if x.OS == nil || x.OS.Type == nil {
		return "none"
	}
	return x.OS.Type.Machine
}

// noJobs refuses a guest that libvirt is busy with; what a killed run left is ended.
func noJobs(d *libvirt.Domain, name string) error {
	g, _, err := liveGuest(d)
	if err != nil {
		return err
	}
	if _, err := clearJob(name, g.uuid, d); err != nil {
		return err
	}
	for _, disk := range g.disks {
		info, err := d.GetBlockJobInfo(disk.target, 0)
		if err == nil && info.Type != libvirt.DOMAIN_BLOCK_JOB_TYPE_UNKNOWN {
			return fmt.Errorf("a block job is at work on disk %s: wait until it has ended (virsh blockjob)", disk.target)
		}
	}
	return nil
}

// readableOff refuses a guest whose disks can only be read while it runs.
func readableOff(h *virt.Host, d *libvirt.Domain) error {
	text, err := d.GetXMLDesc(libvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		return virt.Sentence(err)
	}
	g, err := parseGuest(text)
	if err != nil {
		return err
	}
	if err := g.mustHaveDisks(); err != nil {
		return err
	}
	for _, tool := range []string{"qemu-nbd", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing, which reads the disks of a VM that is off: install qemu-utils", tool)
		}
	}
	for i := range g.disks {
		disk := &g.disks[i]
		switch {
		case disk.special != "":
			return fmt.Errorf("disk %s cannot be read offline: %s; use --mode live", disk.target, disk.special)
		case disk.kind == "network":
			return fmt.Errorf("disk %s is on the network (%s) and cannot be read offline; use --mode live", disk.target, disk.path)
		}
		if err := resolveVolume(h, disk); err != nil {
			return err
		}
		if err := unix.Access(disk.path, unix.R_OK); err != nil {
			return fmt.Errorf("disk %s: %s cannot be read by this user (%w): run vaultfs as root", disk.target, disk.path, err)
		}
	}
	return nil
}
