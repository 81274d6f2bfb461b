package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// pool makes a directory a storage pool, as an admin's directory of images is one.
func pool(t *testing.T, dir string) {
	t.Helper()
	name := "pool-" + filepath.Base(dir)
	testguest.Virsh(t, "pool-create-as", name, "dir", "--target", dir)
	t.Cleanup(func() { testguest.Virsh(t, "pool-destroy", name) })
}

// TestAHostileSnapshotDoesNotChooseWhereFilesGo restores one whose disks and variables claim to have been where the
// host's own things are, such as /etc/cron.d.
func TestAHostileSnapshotDoesNotChooseWhereFilesGo(t *testing.T) {
	testguest.Daemon(t)
	dir := testguest.Dir(t)
	g := testguest.Adopt(t, "define-"+filepath.Base(dir))
	xml := strings.NewReplacer("<domain type='qemu'>", "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>", "machine='pc'>", "machine='q35'>",
		"</os>", "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram>"+dir+"/job</nvram></os><features><acpi/></features>",
		"</domain>", "<qemu:commandline><qemu:arg value='-name'/><qemu:arg value='evil'/></qemu:commandline></domain>").
		Replace(definition(g.Name, dir, `<filesystem type='mount'><source dir='/etc'/><target dir='s'/></filesystem>
			<serial type='file'><source path='`+dir+`/log'/></serial><serial type='pty'><log file='`+dir+`/log2'/></serial><serial type='pty'><log file='/var/log/libvirt/qemu/x.log'/></serial>`))
	r := newRepo(t)
	w := &world{r, makeUp(t, r, part{name: "vda", disk: diskA}, part{name: "vdb", disk: diskB}, part{name: definitionItem, content: xml}, part{name: nvramItem, content: "variables"})}
	result, err := w.define(t, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range result.Written {
		t.Cleanup(func() { os.Remove(written.Path) })
	}
	wantEmpty(t, dir)
	const images = "/var/lib/libvirt/images/"
	wantSaid(t, result.Changes,
		"disk vda: "+images+g.Name+"-vda.qcow2 (qcow2) instead of "+dir+"/a.qcow2, as that is neither in a storage pool nor in a directory of another VM's images",
		"disk vdb: "+images+g.Name+"-vdb.raw (raw) instead of "+dir+"/b.img, as that is neither",
		"NVRAM: /var/lib/libvirt/qemu/nvram/"+g.Name+"_VARS.fd instead of "+dir+"/job, as that is not below /var/lib/libvirt/qemu/nvram")
	wantSaid(t, result.Warnings, "the snapshot's definition changes QEMU's command line (qemu:commandline: -name evil)", "the snapshot's definition shares /etc of this host",
		"the snapshot's definition has the guest's serial port written to "+dir+"/log of", "the snapshot's definition has the guest's serial port written to "+dir+"/log2 of")
	if len(result.Warnings) != 4 {
		t.Errorf("%q", result.Warnings)
	}
	wantSame(t, images+g.Name+"-vdb.raw", string(diskB))
}

// TestImagesGoBackToTheDirectoryOfOthers: where another domain of the host has images, images belong.
func TestImagesGoBackToTheDirectoryOfOthers(t *testing.T) {
	home := testguest.Dir(t)
	w, name := small(t, home, "")
	other := testguest.Adopt(t, name+"-other")
	xml := strings.NewReplacer("4082c95f", "4082c961", "a.qcow2", "c.qcow2", "b.img", "d.img").Replace(definition(other.Name, home, ""))
	file := filepath.Join(testguest.Dir(t), "other.xml")
	if err := os.WriteFile(file, []byte(xml), 0o600); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "define", file)
	result, err := w.define(t, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, home); got != "a.qcow2 b.img" {
		t.Errorf("the directory holds %s; %q", got, result.Changes)
	}
}

func TestImagePlaces(t *testing.T) {
	all := &taken{macs: map[string]string{}, paths: map[string]string{}, devices: map[string]string{}, imageDirs: map[string]bool{}}
	all.add("other", element(t, `<domain><devices><disk><source file="/own/a"/></disk><disk device="cdrom"><source file="/isos/a"/></disk>
		<disk type="block" device="disk"><source dev="/dev/vg/a"/></disk><disk device="disk"><source file="/ro/a"/><readonly/></disk></devices></domain>`))
	var trees []string
	for kind, dir := range map[string]string{"dir": "/pool", "netfs": "/nfs", "logical": "/dev/vg", "fs": "relative"} {
		trees = append(trees, poolTarget(`<pool type="`+kind+`"><target><path>`+dir+`</path></target></pool>`)...)
	}
	where := imagePlaces{trees, all.imageDirs}
	for path, want := range map[string]bool{
		"/pool/x": true, "/pool/sub/x": true, "/nfs/x": true, "/own/x": true,
		"/pool": false, "/poolx/x": false, "/pool/.ssh/x": false, "/pool/.profile": false, "/pool/sub/.x": false, "/own/sub/x": false, "/own/.x": false,
		"/isos/x": false, "/ro/x": false, "/dev/vg/x": false, "/etc/cron.d/x": false, "relative/x": false, "/x": false,
	} {
		if got := where.holds(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
