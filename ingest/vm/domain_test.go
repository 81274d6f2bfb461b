package vm

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"
)

func guestOf(t *testing.T, devices string) *guest {
	t.Helper()
	g, err := parseGuest(`<domain type='kvm'><name>v</name><uuid>4082c95f-784b-4e9b-9763-65720efc0f5f</uuid><devices>` + devices + `</devices>
		<seclabel type='dynamic' model='apparmor'><label>libvirt-x</label></seclabel>
		<seclabel type='dynamic' model='dac'><label>+64055:+108</label></seclabel></domain>`)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestWhichDisksAreRead(t *testing.T) {
	const target = `<target dev='vda' bus='virtio'/></disk>`
	for name, c := range map[string]struct {
		xml  string
		want string // kind, format, path; or why it is left out
		data bool
	}{
		"qcow2 file":   {`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/v/a b,c=d.qcow2'/>`, "file qcow2 /v/a b,c=d.qcow2", false},
		"no format":    {`<disk type='file' device='disk'><source file='/v/a.qcow2'/>`, "file raw /v/a.qcow2", false},
		"no device":    {`<disk type='file'><driver type='raw'/><source file='/v/a'/>`, "file raw /v/a", false},
		"block device": {`<disk type='block' device='disk'><driver type='raw'/><source dev='/dev/vg/lv'/>`, "block raw /dev/vg/lv", false},
		"volume":       {`<disk type='volume' device='disk'><driver type='qcow2'/><source pool='p' volume='a'/>`, "volume qcow2 p/a", false},
		"network":      {`<disk type='network' device='disk'><driver type='raw'/><source protocol='rbd' name='pool/image'><host name='mon' port='6789'/></source>`, "network raw rbd:pool/image", false},
		"shareable":    {`<disk type='file' device='disk'><source file='/v/a'/><shareable/>`, "file raw /v/a", false},
		"cdrom":        {`<disk type='file' device='cdrom'><source file='/v/a.iso'/><readonly/>`, "a CD-ROM", false},
		"floppy":       {`<disk type='file' device='floppy'><source file='/v/a.img'/>`, "a floppy", false},
		"no source":    {`<disk type='file' device='disk'>`, "empty", false},
		"empty source": {`<disk type='block' device='disk'><source dev=''/>`, "empty", false},
		"read-only":    {`<disk type='file' device='disk'><source file='/v/a'/><readonly/>`, "read-only", false},
		"transient":    {`<disk type='file' device='disk'><source file='/v/a'/><transient/>`, "transient, its changes are dropped when the guest stops", false},
		"lun":          {`<disk type='block' device='lun'><source dev='/dev/sdx'/>`, "a SCSI device passed through to the guest", true},
		"nvme":         {`<disk type='nvme' device='disk'><source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>`, "passed through from the host (nvme)", true},
		"vhost-user":   {`<disk type='vhostuser' device='disk'><source type='unix' path='/v/s'/>`, "passed through from the host (vhostuser)", true},
		"host folder":  {`<disk type='dir' device='disk'><source dir='/v'/>`, "passed through from the host (dir)", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := guestOf(t, c.xml+target)
			var got string
			var data bool
			if len(g.disks) == 1 {
				got = fmt.Sprintf("%s %s %s", g.disks[0].kind, g.disks[0].format, g.disks[0].path)
			} else {
				got, data = g.left[0].why, g.left[0].data
			}
			if got != c.want || data != c.data || len(g.disks)+len(g.left) != 1 {
				t.Errorf("%q %v", got, data)
			}
		})
	}
}

func TestBackingChainOfTheXML(t *testing.T) {
	const open = `<disk type='file' device='disk'><driver type='qcow2'/><source file='/v/top'/>`
	const target = `<target dev='vda'/></disk>`
	for name, c := range map[string]struct {
		xml     string
		said    bool
		chain   []layer
		special string
	}{
		"not said": {"", false, nil, ""},
		"none":     {`<backingStore/>`, true, nil, ""},
		"two": {`<backingStore type='file'><format type='qcow2'/><source file='/v/mid'/>
			<backingStore type='block'><format type='raw'/><source dev='/dev/base'/><backingStore/></backingStore></backingStore>`,
			true, []layer{{"/v/mid", "qcow2"}, {"/dev/base", "raw"}}, ""},
		"not to its end": {`<backingStore type='file'><format type='qcow2'/><source file='/v/mid'/></backingStore>`, false, nil, ""},
		"network": {`<backingStore type='network'><format type='raw'/><source protocol='nbd' name='x'><host name='h'/></source><backingStore/></backingStore>`,
			true, []layer{{"nbd:x", "raw"}}, "neither a file nor a block device"},
	} {
		t.Run(name, func(t *testing.T) {
			d := guestOf(t, open+c.xml+target).disks[0]
			if d.hasBacking != c.said || !slices.Equal(d.backing, c.chain) || !strings.Contains(d.special, c.special) || (d.special == "") != (c.special == "") {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestAgentAndLabel(t *testing.T) {
	g := guestOf(t, `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>`)
	if !g.agent.channel || !g.agent.connected || g.label != (label{"+64055:+108", "apparmor"}) {
		t.Errorf("%+v", g)
	}
	if uid, gid, ok := parseOwner(g.label.owner); uid != 64055 || gid != 108 || !ok {
		t.Error(uid, gid, ok)
	}
	if g := guestOf(t, `<channel type='unix'><target type='virtio' name='com.redhat.spice.0'/></channel>`); g.agent.channel {
		t.Error("spice is no guest agent")
	}
}

func TestJobXML(t *testing.T) {
	text, err := jobXML([]disk{{target: "vda"}, {target: "sdb"}}, map[string]string{"sdb": "cp"}, &scratch{dir: "/s/vaultfs-u"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `<domainbackup mode="pull">
  <server transport="unix" socket="/s/vaultfs-u/nbd.sock"></server>
  <disks>
    <disk type="file" name="vda" backup="yes" exportname="vda">
      <driver type="qcow2"></driver>
      <scratch file="/s/vaultfs-u/vda.scratch"></scratch>
    </disk>
    <disk type="file" name="sdb" backup="yes" backupmode="incremental" incremental="cp" exportname="sdb" exportbitmap="vaultfs-sdb">
      <driver type="qcow2"></driver>
      <scratch file="/s/vaultfs-u/sdb.scratch"></scratch>
    </disk>
  </disks>
</domainbackup>`
	if text != want {
		t.Errorf("%s", text)
	}
}

func TestSentences(t *testing.T) {
	s := &scratch{dir: "/s/vaultfs-u", confined: "apparmor"}
	virError := func(code libvirt.ErrorNumber, text string) error { return libvirt.Error{Code: code, Message: text} }
	off := virError(libvirt.ERR_OPERATION_UNSUPPORTED, "cannot perform disk backup for inactive domain")
	if checkpointTrouble(off) {
		t.Error("a guest that is off is said to have trouble with its checkpoints")
	}
	for name, c := range map[string]struct {
		err   error
		words []string
	}{
		"busy":   {beginError("v", s, virError(libvirt.ERR_OPERATION_TIMEOUT, "Timed out")), []string{`"v"`, "busy"}},
		"denied": {beginError("v", s, virError(1, "Failed to bind socket to /s: Permission denied")), []string{"/s/vaultfs-u", "AppArmor", "/s/** rwk,"}},
		"old":    {beginError("v", s, virError(libvirt.ERR_OPERATION_UNSUPPORTED, "incremental backup is not supported yet")), []string{"--mode offline"}},
		"off":    {beginError("v", s, off), []string{`"v"`, "was shut off", "try again"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, c.err, c.words...)
			if strings.Contains(c.err.Error(), "virError") {
				t.Error(c.err)
			}
		})
	}
}

func TestSameDisks(t *testing.T) {
	a := &guest{disks: []disk{{target: "vda", path: "/a"}, {target: "vdb", path: "/b"}}}
	for want, disks := range map[string][]disk{
		"":    {{target: "vdb", path: "/b"}, {target: "vda", path: "/a"}},
		"vdb": {{target: "vda", path: "/a"}},
		"vdc": {{target: "vda", path: "/a"}, {target: "vdb", path: "/b"}, {target: "vdc", path: "/c"}},
		"vda": {{target: "vda", path: "/other"}, {target: "vdb", path: "/b"}},
	} {
		if got := sameDisks(a, &guest{disks: disks}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzParseGuest(f *testing.F) {
	f.Add(`<domain><name>v</name><devices><disk type='file' device='disk'><source file='/a'/><target dev='vda'/></disk></devices></domain>`)
	f.Add(`<domain><devices><disk type='volume'><source pool='p'/></disk><channel/></devices></domain>`)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := parseGuest(text)
		if (g == nil) == (err == nil) {
			t.Error("neither a guest nor an error")
		}
	})
}

func TestImagesOfACheckpoint(t *testing.T) {
	dir := t.TempDir()
	a, b := disk{target: "vda", kind: "file", format: "qcow2", path: dir + "/a"}, disk{target: "vdb", kind: "file", format: "qcow2", path: dir + "/none"}
	if err := os.WriteFile(a.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := checkpointXML("vaultfs-1-2", []disk{a, b})
	if err != nil {
		t.Fatal(err)
	}
	bitmaps, err := parseBitmaps(text)
	if err != nil || bitmaps["vda"].image == "" || bitmaps["vda"].image != a.imageName() || bitmaps["vdb"].image != "" {
		t.Errorf("%+v %v of %s", bitmaps, err, text)
	}
	if err := os.WriteFile(dir+"/new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/new", a.path); err != nil {
		t.Fatal(err)
	}
	if bitmaps["vda"].image == a.imageName() {
		t.Error("another file has the same name")
	}
	if images := notedImages("somebody's own words"); len(images) > 0 {
		t.Errorf("%v", images)
	}
}
