package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// TestADiskOutsideTheSnapshotIsNotShared restores a guest beside the one that was backed up, which has got another disk
// since: a copy that writes to that disk too would destroy it.
func TestADiskOutsideTheSnapshotIsNotShared(t *testing.T) {
	home := testguest.Dir(t)
	for _, file := range []string{"later.img", "alone.img", "ro.img", "tools.iso", "floppy.img"} {
		if err := os.WriteFile(filepath.Join(home, file), make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	disk := func(device, file, target, bus, more string) string {
		return `<disk type='file' device='` + device + `'><driver name='qemu' type='raw'/><source file='` + home + "/" + file + `'/><target dev='` + target + `' bus='` + bus + `'/>` + more + `</disk>`
	}
	theirs := disk("disk", "later.img", "vdc", "virtio", "") + disk("floppy", "floppy.img", "fda", "fdc", "") +
		disk("cdrom", "tools.iso", "hda", "ide", "<readonly/>")
	w, name := small(t, home, theirs+disk("disk", "alone.img", "vdd", "virtio", "")+disk("disk", "ro.img", "vde", "virtio", "<readonly/>")+
		`<disk type='block' device='lun'><driver name='qemu' type='raw'/><source dev='/dev/null'/><target dev='sda' bus='scsi'/><readonly/></disk>
		<controller type='scsi' model='virtio-scsi'/>`)
	owner := testguest.Adopt(t, name+"-owner")
	file := filepath.Join(home, "owner.xml")
	if err := os.WriteFile(file, []byte(strings.Replace(definition(owner.Name, home, theirs), "4082c95f", "4082c960", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "define", file)

	result, err := w.define(t, Options{DiskDir: testguest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	wantSaid(t, result.Warnings,
		"disk vdc is left out: "+home+"/later.img is not in the snapshot, and VM \""+owner.Name+"\" has it",
		"disk vdd is left out: "+home+"/alone.img is not in the snapshot, and the VM that was backed up may still write to it",
		"disk sda is left out: /dev/null")
	wantSaid(t, result.Changes, "disk fda: an empty drive, as "+home+"/floppy.img is in the definition of VM \""+owner.Name+"\"")
	wantSaid(t, result.Notes, "disk hda: "+home+"/tools.iso is not in the snapshot, and used as it is", "disk vde: "+home+"/ro.img is not in")
	xml := testguest.Virsh(t, "dumpxml", "--inactive", name)
	for _, gone := range []string{"later.img", "alone.img", "floppy.img", "/dev/null"} {
		if strings.Contains(xml, gone) {
			t.Errorf("%s is still in %s", gone, xml)
		}
	}
	for _, kept := range []string{"tools.iso", "ro.img"} {
		if !strings.Contains(xml, kept) {
			t.Errorf("%s is no longer in %s", kept, xml)
		}
	}
}

// TestHostDevicesAreNotTakenAway: a device stays only if this host has it and no other domain does.
func TestHostDevicesAreNotTakenAway(t *testing.T) {
	pci := func(tag, kind, slot string) string {
		return `<` + tag + ` mode="subsystem" type="` + kind + `"><source><address type="pci" domain="0x0000" bus="0x00" slot="` + slot + `" function="0x0"/></source></` + tag + `>`
	}
	here, err := os.ReadDir("/sys/bus/pci/devices")
	if err != nil {
		t.Fatal(err)
	}
	usb := `<hostdev mode="subsystem" type="usb"><source><vendor id="0x0abc"/><product id="0xdef0"/></source></hostdev>`
	scsi := `<hostdev mode="subsystem" type="scsi"><source><adapter name="scsi_host9"/><address bus="0" target="1" unit="12"/></source></hostdev>`
	mdev := `<hostdev mode="subsystem" type="mdev" model="vfio-pci"><source><address uuid="C2177883-F1BB-47F0-914D-32A22E3A8804"/></source></hostdev>`
	iscsi := `<hostdev mode="subsystem" type="scsi"><source protocol="iscsi" name="iqn.x/1"/></hostdev>`
	theirs := `<domain><devices>` + pci("hostdev", "pci", "0x01") + usb + `</devices></domain>`
	domain := element(t, `<domain><devices>`+pci("hostdev", "pci", "0x01")+pci("interface", "hostdev", "0x01")+pci("hostdev", "pci", "0x1e")+
		usb+scsi+mdev+iscsi+`<interface type="user"/></devices></domain>`)
	p := &plan{domain: domain, result: new(Result), taken: &taken{macs: map[string]string{}, paths: map[string]string{}, devices: map[string]string{}, imageDirs: map[string]bool{}}}
	p.taken.add("other", element(t, theirs))
	p.planHostDevices()
	wantSaid(t, p.result.Warnings, `the PCI device 0000:00:01.0 is left out: VM "other" has it`, "the PCI device 0000:00:1e.0 is left out: it is not on this host",
		`the USB device 0abc:def0 is left out: VM "other" has it`, "the SCSI device 9:0:1:12 is left out: it is not", "the mediated device c2177883-f1bb-47f0-914d-32a22e3a8804 is left out",
		"the snapshot's definition gives it a scsi device of this host")
	if got := written(domain); got != `<domain><devices>`+iscsi+`<interface type="user"/></devices></domain>` {
		t.Errorf("left are %s", got)
	}
	for _, device := range here {
		at := strings.FieldsFunc(device.Name(), func(r rune) bool { return r == ':' || r == '.' })
		e := element(t, `<hostdev type="pci"><source><address domain="0x`+at[0]+`" bus="0x`+at[1]+`" slot="0x`+at[2]+`" function="0x`+at[3]+`"/></source></hostdev>`)
		if all := hostDevices(e); len(all) != 1 || all[0].name != "PCI device "+device.Name() || !all[0].here {
			t.Errorf("%s: %+v", device.Name(), all)
		}
	}
}
