package vm

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"vaultfs/repo"
)

func element(t *testing.T, text string) *etree.Element {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		t.Fatal(err)
	}
	return doc.Root()
}

func written(e *etree.Element) string {
	var b strings.Builder
	e.WriteTo(&b, &etree.WriteSettings{})
	return b.String()
}

func TestRewrittenDisks(t *testing.T) {
	for name, c := range map[string]struct {
		xml, format, want string
		kept              bool
	}{
		"qcow2 file over a base": {
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2" cache="none" io="native" discard="unmap" iothread="1"/><source file="/v/a.snap1" index="3"><slices><slice type="storage" offset="1" size="2"/></slices><seclabel model="dac" relabel="no"/></source><backingStore type="file"><format type="qcow2"/><source file="/v/a"/><backingStore/></backingStore><target dev="vda" bus="virtio"/><iotune/><serial>S1</serial><boot order="1"/><address type="pci"/></disk>`,
			"qcow2",
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2" cache="none" io="native" discard="unmap" iothread="1"/><source file="/n"><seclabel model="dac" relabel="no"/></source><target dev="vda" bus="virtio"/><iotune/><serial>S1</serial><boot order="1"/><address type="pci"/></disk>`, true},
		"raw file, nothing said": {
			`<disk device="disk"><source file="/v/a"/><target dev="vda"/></disk>`, "raw",
			`<disk device="disk" type="file"><driver name="qemu" type="raw"/><source file="/n"/><target dev="vda"/></disk>`, true},
		"block device": {
			`<disk type="block" device="disk"><driver name="qemu" type="raw"/><source dev="/dev/vg/a"/><target dev="vda"/><shareable/></disk>`, "qcow2",
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/n"/><target dev="vda"/><shareable/></disk>`, false},
		"network": {
			`<disk type="network" device="disk"><driver name="qemu" type="raw"/><auth username="u"><secret type="ceph" uuid="x"/></auth><source protocol="rbd" name="p/a"><host name="m"/><auth username="u"/></source><target dev="vda"/></disk>`, "qcow2",
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/n"/><target dev="vda"/></disk>`, false},
		"volume": {
			`<disk type="volume" device="disk"><source pool="p" volume="v" startupPolicy="optional"/><target dev="vda"/></disk>`, "qcow2",
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/n" startupPolicy="optional"/><target dev="vda"/></disk>`, false},
		"encrypted": {
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/v/a"><encryption format="luks"><secret type="passphrase" uuid="x"/></encryption></source><target dev="vda"/></disk>`, "qcow2",
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/n"/><target dev="vda"/></disk>`, true},
		"another format": {
			`<disk type="file" device="disk"><driver name="qemu" type="vmdk"/><source file="/v/a.vmdk"/><target dev="vda"/></disk>`, "qcow2",
			`<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/n"/><target dev="vda"/></disk>`, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := element(t, c.xml)
			format, kept := formatOf(e)
			if format != c.format || kept != c.kept {
				t.Errorf("format %s, kept %v", format, kept)
			}
			if rewriteDisk(e, "/n", format); written(e) != c.want {
				t.Errorf("is\n%s\nwant\n%s", written(e), c.want)
			}
		})
	}
}

// TestIdentityIsRenewedThroughout: what states the old identity in other places follows.
func TestIdentityIsRenewedThroughout(t *testing.T) {
	domain := element(t, `<domain xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><name>v</name><genid>old</genid><devices>
		<interface><mac address="52:54:00:00:00:01"/></interface><interface><mac address="52:54:00:00:00:02"/></interface><interface/>
		<channel type="unix"><source mode="bind" path="/var/lib/libvirt/qemu/channel/target/domain-3-v/org.qemu.guest_agent.0"/><target/></channel>
		<channel type="unix"><source mode="bind" path="/srv/own.sock"/><target/></channel></devices>
		<qemu:commandline><qemu:arg value="-s"/></qemu:commandline></domain>`)
	p := &plan{domain: domain, name: "v", snap: new(repo.Snapshot), result: new(Result), taken: &taken{macs: map[string]string{"52:54:00:00:00:02": "other"}}}
	p.renewGenerationID()
	p.chooseMACs()
	p.dropAutomatic()
	text := written(domain)
	for _, gone := range []string{">old<", "00:00:02", "domain-3-v"} {
		if strings.Contains(text, gone) {
			t.Errorf("%s is still in %s", gone, text)
		}
	}
	for _, kept := range []string{"00:00:01", "/srv/own.sock", `<qemu:arg value="-s"/>`, "xmlns:qemu"} {
		if !strings.Contains(text, kept) {
			t.Errorf("%s is no longer in %s", kept, text)
		}
	}
	if got := attr(devices(domain, "interface")[1], "mac", "address"); !regexp.MustCompile(`^52:54:00(:[0-9a-f]{2}){3}$`).MatchString(got) {
		t.Errorf("the new MAC is %q", got)
	}
	if id := newUUID(); !uuidForm.MatchString(id) || id[14] != '4' || id == newUUID() {
		t.Errorf("%q is no random UUID", id)
	}
}

// TestAGuestOfAnotherHost: this host does not see whether the original runs there.
func TestAGuestOfAnotherHost(t *testing.T) {
	const uuid = "4082c95f-784b-4e9b-9763-65720efc0f5f"
	self, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	work := func(host, name string) (*Result, string) {
		domain := element(t, `<domain><devices><interface><mac address="52:54:00:00:00:01"/></interface><interface><mac address="52:54:00:00:00:02"/></interface></devices></domain>`)
		p := &plan{domain: domain, uuid: uuid, options: &Options{Name: name}, result: new(Result), taken: &taken{macs: map[string]string{}},
			snap: &repo.Snapshot{Info: repo.Info{Host: host, Machine: uuid}}}
		p.chooseMACs()
		return p.result, written(domain)
	}
	for _, name := range []string{"", "new"} {
		if result, xml := work(self, name); len(result.Warnings)+len(result.Changes) > 0 || !strings.Contains(xml, "00:00:01") {
			t.Errorf("of this host, name %q: %+v %s", name, result, xml)
		}
	}
	result, xml := work("elsewhere", "")
	wantSaid(t, result.Warnings, "it was backed up on host elsewhere, and keeps what it had there (UUID "+uuid+"; MAC 52:54:00:00:00:01, 52:54:00:00:00:02): if it still runs there, do not run both at a time; --name NEW")
	if len(result.Changes) > 0 || !strings.Contains(xml, "00:00:01") {
		t.Errorf("%+v %s", result, xml)
	}
	result, xml = work("elsewhere", "new")
	wantSaid(t, result.Changes, "MAC: 52:54:00:")
	wantSaid(t, result.Warnings, "it was backed up on host elsewhere, and keeps what it had there (UUID "+uuid+"): if")
	if len(result.Changes) != 2 || strings.Contains(xml, "00:00:01") || strings.Contains(xml, "00:00:02") {
		t.Errorf("%+v %s", result, xml)
	}
}

func TestNVRAMForms(t *testing.T) {
	for _, xml := range []string{
		`<nvram template="/t">/old</nvram>`, `<nvram type="file" template="/t"><source file="/old"/></nvram>`,
		`<nvram type="network" template="/t"><source protocol="iscsi" name="x"/></nvram>`,
	} {
		e := element(t, xml)
		if path := nvramPath(e); path != "/old" && !strings.Contains(xml, "network") {
			t.Errorf("%s: %q", xml, path)
		}
		if setNVRAM(e, "/new"); written(e) != `<nvram template="/t">/new</nvram>` {
			t.Errorf("%s: %s", xml, written(e))
		}
	}
}

// TestHostileTPMState holds archives that would write elsewhere.
func TestHostileTPMState(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"up":       {Name: "../x", Typeflag: tar.TypeReg},
		"up below": {Name: "tpm2/../../x", Typeflag: tar.TypeReg},
		"absolute": {Name: "/etc/x", Typeflag: tar.TypeReg},
		"symlink":  {Name: "tpm2", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		"link":     {Name: "x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		"device":   {Name: "x", Typeflag: tar.TypeBlock},
	} {
		var packed bytes.Buffer
		w := tar.NewWriter(&packed)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if files, err := unpackTPM(packed.Bytes()); err == nil {
			t.Errorf("%s: taken for %+v", name, files)
		}
	}
}

func TestTPMStateIsWrittenAsItWas(t *testing.T) {
	parent := t.TempDir()
	s := &tpmState{dir: filepath.Join(parent, "uuid"), files: []tpmFile{{"tpm2", 0o700 | fs.ModeDir, nil}, {"tpm2/tpm2-00.permall", 0o600, []byte("state")}}}
	w, err := s.write()
	if err != nil || w.Size != 5 || w.Path != s.dir {
		t.Fatal(w, err)
	}
	wantSame(t, filepath.Join(s.dir, "tpm2/tpm2-00.permall"), "state")
	for path, mode := range map[string]fs.FileMode{"": 0o711, "tpm2": 0o700, "tpm2/tpm2-00.permall": 0o600} {
		if info, err := os.Stat(filepath.Join(s.dir, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v %v", path, info.Mode(), err)
		}
	}
	if _, err := s.write(); err == nil {
		t.Error("a state that is there was replaced")
	}
	if got := names(t, parent); got != "uuid" {
		t.Errorf("beside it are %s", got)
	}
}

// TestADividedTextIsMadeWhole: libvirt would take "free", "taken" and "more" together.
func TestADividedTextIsMadeWhole(t *testing.T) {
	e := element(t, `<domain><name>free<x>taken</x><x>more</x></name></domain>`)
	if setText(e, "name", "free"); written(e) != `<domain><name>free</name></domain>` {
		t.Error(written(e))
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{"win 11": true, "a": true, "ä.x": true, "": false, ".": false, "..": false, "a/b": false, "a\nb": false, strings.Repeat("a", 201): false} {
		if err := checkName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
	if at := pciAddress(element(t, `<address domain="0x0000" bus="0x3b" slot="0x1f" function="0x7"/>`)); at != "0000:3b:1f.7" {
		t.Error(at)
	}
}

func FuzzUnpackTPM(f *testing.F) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	if err := w.WriteHeader(&tar.Header{Name: "tpm2/tpm2-00.permall", Size: 2, Mode: 0o600}); err != nil {
		f.Fatal(err)
	}
	w.Write([]byte("ab"))
	w.Close()
	f.Add(packed.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := unpackTPM(b)
		for _, one := range files {
			if err == nil && !filepath.IsLocal(one.name) {
				t.Errorf("%q leads out", one.name)
			}
		}
	})
}
