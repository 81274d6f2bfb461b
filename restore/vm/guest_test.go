package vm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// define brings a snapshot back on the test's libvirt.
func (w *world) define(t *testing.T, o Options) (*Result, error) {
	t.Helper()
	o.Connect = testguest.URI
	return Define(t.Context(), w.repo, w.snap, o)
}

// stamps tells whether files have been written to.
func stamps(t *testing.T, paths []string) (all string) {
	t.Helper()
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		all += fmt.Sprintln(path, info.Size(), info.ModTime())
	}
	return all
}

const (
	variable = "/sys/firmware/efi/efivars/VaultfsTest-12345678-1234-1234-1234-123456789abc"
	// tpmTool sends commands of TPM 2.0 (part 3 of its specification) as octal bytes; the owner's password is empty.
	tpmTool = `tpm() { exec 3<>/dev/tpm0; printf "$1" >&3; dd bs=4096 count=1 <&3 2>/dev/null | od -An -tx1 -v | tr -d ' \n'; exec 3>&-; }
auth='\000\000\000\011\100\000\000\011\000\000\000\000\000'
`
	nvDefine = `tpm '\200\002\000\000\000\055\000\000\001\052\100\000\000\001'"$auth"'\000\000\000\016\001\120\000\000\000\013\000\006\000\006\000\000\000\010'
`
	nvWrite = `tpm '\200\002\000\000\000\053\000\000\001\067\100\000\000\001\001\120\000\000'"$auth"'\000\010vaultfs!\000\000'
`
	nvRead = `tpm '\200\002\000\000\000\043\000\000\001\116\100\000\000\001\001\120\000\000'"$auth"'\000\010\000\000'
`
	success = "8002000000130000000000000000000001" + "0000"
	stored  = "7661756c74667321" // vaultfs!
)

// TestAMachineComesBack restores a running guest under another name, beside the first: it boots, finds its files on all
// three disks, and what it wrote to its firmware's variables and into its TPM. Then the first is lost with all that
// libvirt had of it, and restored to where it was.
func TestAMachineComesBack(t *testing.T) {
	iso := filepath.Join(testguest.Dir(t), "tools.iso")
	if err := os.WriteFile(iso, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	mac := testMAC()
	g := testguest.Define(t, testguest.Spec{
		UEFI: true, TPM: true,
		Disks: []testguest.Disk{
			{Base: true, Format: "qcow2", Bus: "virtio"},
			{Format: "raw", Bus: "virtio", Size: "48M"},
			{Format: "qcow2", Bus: "scsi", Size: "64M"},
		},
		Extra: `<interface type='user'><mac address='` + mac + `'/><model type='virtio'/></interface>
			<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='` + iso + `'/><target dev='sdz' bus='sata'/><readonly/></disk>`,
	})
	pool(t, g.Dir)
	g.Start()
	g.WaitAgent()
	sums := g.Run(`mkfs.ext4 -q /dev/vdb; mkfs.ext4 -q /dev/sda; mkdir /b /c; mount /dev/vdb /b; mount /dev/sda /c
		for d in /root /b /c; do head -c 5000000 /dev/urandom >$d/kept; done; sha256sum /root/kept /b/kept /c/kept
		printf '\007\000\000\000written by the guest' >` + variable)
	if got := g.Run(tpmTool + nvDefine + nvWrite); got != success+success {
		t.Fatalf("the TPM answers %s", got)
	}
	r := newRepo(t)
	w := &world{r, backup(t, r, g)}
	g.Destroy()
	if err := os.Remove(iso); err != nil {
		t.Fatal(err)
	}
	comesBackBeside(t, w, g, iso, mac, sums)
	comesBackInPlace(t, w, g)
}

// testMAC is an address of QEMU's own range that no guest of another run has: one that a killed run left defined would
// keep it from coming back.
func testMAC() string {
	n := rand.Uint32()
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", byte(n>>16), byte(n>>8), byte(n))
}

// comesBackBeside restores the guest as another one, boots that, and looks whether all is there.
func comesBackBeside(t *testing.T, w *world, g *testguest.Guest, iso, mac, sums string) {
	t.Helper()
	before := stamps(t, g.Paths)
	dir := filepath.Join(testguest.Dir(t), "new", "disks")
	twin := testguest.Adopt(t, g.Name+"-twin")
	result, err := w.define(t, Options{Name: twin.Name, DiskDir: dir, Start: true})
	if err != nil {
		t.Fatal(err)
	}
	twin.WaitAgent()
	if got := twin.Run("mkdir -p /b /c; mount /dev/vdb /b; mount /dev/sda /c; sha256sum /root/kept /b/kept /c/kept"); got != sums {
		t.Errorf("the restored guest has\n%s\nwant\n%s", got, sums)
	}
	if got := twin.Run("cat " + variable + " | tail -c +5"); got != "written by the guest" {
		t.Errorf("the firmware's variable is %q", got)
	}
	if got := twin.Run(tpmTool + nvRead); !strings.Contains(got, stored) {
		t.Errorf("the TPM answers %s", got)
	}
	twin.Destroy()

	if !result.Started || result.Name != twin.Name || result.UUID == w.snap.Info.Machine {
		t.Errorf("%+v", result)
	}
	wantWritten(t, result, dir+"/"+twin.Name+"-vda.qcow2", dir+"/"+twin.Name+"-vdb.raw", dir+"/"+twin.Name+"-sda.qcow2",
		"/var/lib/libvirt/qemu/nvram/"+twin.Name+"_VARS.fd", "/var/lib/libvirt/swtpm/"+result.UUID)
	wantSaid(t, result.Changes, "name: "+twin.Name, "UUID: "+result.UUID, "MAC: 52:54:00:", "disk sdz: an empty drive, as "+iso)
	xml := testguest.Virsh(t, "dumpxml", "--inactive", twin.Name)
	if strings.Contains(xml, mac) || strings.Contains(xml, iso) || strings.Contains(xml, g.Dir+"/vd") {
		t.Errorf("the restored definition still has what it should not:\n%s", xml)
	}
	if after := stamps(t, g.Paths); after != before {
		t.Errorf("the first guest's images were touched: %s, were %s", after, before)
	}
	testguest.Virsh(t, "undefine", twin.Name, "--nvram", "--tpm")
}

// comesBackInPlace loses the guest, and restores it as it was.
func comesBackInPlace(t *testing.T, w *world, g *testguest.Guest) {
	t.Helper()
	nvram, tpm := "/var/lib/libvirt/qemu/nvram/"+g.Name+"_VARS.fd", filepath.Join("/var/lib/libvirt/swtpm", w.snap.Info.Machine)
	wantSame(t, nvram, w.text(t, nvramItem))
	testguest.Virsh(t, "undefine", g.Name, "--nvram", "--tpm", "--checkpoints-metadata")
	for _, path := range g.Paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	result, err := w.define(t, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if result.UUID != w.snap.Info.Machine || len(result.Changes) != 1 || len(result.Warnings) > 0 || result.Started {
		t.Errorf("%+v", result)
	}
	wantSaid(t, result.Changes, "disk sdz: an empty drive")
	wantWritten(t, result, g.Paths[0], g.Paths[1], g.Paths[2], nvram, tpm)
	wantSame(t, nvram, w.text(t, nvramItem))
	if kept, err := os.ReadDir(filepath.Join(tpm, "tpm2")); err != nil || len(kept) == 0 {
		t.Errorf("the TPM's state: %v %v", kept, err)
	}

	// A state that is there already is not touched, though nobody has its UUID.
	testguest.Virsh(t, "undefine", g.Name, "--nvram", "--keep-tpm")
	_, err = w.define(t, Options{DiskDir: testguest.Dir(t)})
	wantError(t, err, tpm, "exists and is not touched", "move it away")
	if err := os.RemoveAll(tpm); err != nil {
		t.Fatal(err)
	}
}

// wantWritten fails unless just those files were written, in that order.
func wantWritten(t *testing.T, result *Result, want ...string) {
	t.Helper()
	var paths []string
	for _, written := range result.Written {
		paths = append(paths, written.Path)
	}
	if !slices.Equal(paths, want) {
		t.Errorf("written: %q, want %q", paths, want)
	}
}

// wantSaid fails unless each of some beginnings begins a line.
func wantSaid(t *testing.T, lines []string, beginnings ...string) {
	t.Helper()
	for _, b := range beginnings {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, b) }) {
			t.Errorf("nothing begins with %q in %q", b, lines)
		}
	}
}

func wantSame(t *testing.T, path, content string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != content {
		t.Errorf("%s has %d bytes, which are not the %d that were expected", path, len(b), len(content))
	}
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// TestFirmwareThatLibvirtChooses: such a definition names no NVRAM, which there is all the same once it has run.
func TestFirmwareThatLibvirtChooses(t *testing.T) {
	dir := testguest.Dir(t)
	testguest.Daemon(t)
	pool(t, dir)
	g := testguest.Adopt(t, "define-"+filepath.Base(dir))
	xml := strings.NewReplacer("<os><type arch='x86_64' machine='pc'>", "<os firmware='efi'><type arch='x86_64' machine='q35'>", "</os>", "</os><features><acpi/></features>").
		Replace(definition(g.Name, dir, ""))
	variables, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	w := &world{r, makeUp(t, r, part{name: "vda", disk: diskA}, part{name: "vdb", disk: diskB}, part{name: definitionItem, content: xml}, part{name: nvramItem, content: string(variables)})}
	if _, err := w.define(t, Options{Start: true}); err != nil {
		t.Fatal(err)
	}
	nvram := "/var/lib/libvirt/qemu/nvram/" + g.Name + "_VARS.fd"
	if live := testguest.Virsh(t, "dumpxml", g.Name); !strings.Contains(live, nvram) {
		t.Errorf("the guest runs with other variables than %s: %s", nvram, live)
	}
	g.Destroy()
	t.Cleanup(func() { os.Remove(nvram) })
	now, err := os.ReadFile(nvram)
	if err != nil {
		t.Fatal(err)
	}
	w.snap = backup(t, r, g)
	if got := w.text(t, nvramItem); got != string(now) {
		t.Errorf("the backup of the guest that is shut off has %d bytes of variables, %s has %d", len(got), nvram, len(now))
	}
	_, err = w.define(t, Options{Name: g.Name + "-twin", DiskDir: testguest.Dir(t)})
	twin := testguest.Adopt(t, g.Name+"-twin")
	if err != nil {
		t.Fatal(err)
	}
	path := "/var/lib/libvirt/qemu/nvram/" + twin.Name + "_VARS.fd"
	t.Cleanup(func() { os.Remove(path) })
	wantSame(t, path, string(now))
}
