package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/internal/testguest"
	"vaultfs/restore"
)

// definition is the XML of a small guest with two disks below dir. More goes into <devices>.
func definition(name, dir, more string) string {
	return fmt.Sprintf(`<domain type='qemu'><name>%s</name><uuid>4082c95f-784b-4e9b-9763-65720efc0f5f</uuid><genid>6d8c3a52-3a51-4a0c-8c7b-0b6f1e6ad001</genid>
<memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='%[2]s/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%[2]s/b.img'/><target dev='vdb' bus='virtio'/></disk>%s</devices></domain>`, name, dir, more)
}

var diskA, diskB = noise(3<<20, 1), noise(1<<20+512, 2)

// small is a snapshot of that guest, and a name that no other test uses.
func small(t *testing.T, dir, more string) (*world, string) {
	t.Helper()
	testguest.Daemon(t)
	name := "define-" + filepath.Base(testguest.Dir(t))
	r := newRepo(t)
	testguest.Adopt(t, name)
	return &world{r, makeUp(t, r, part{name: "vda", disk: diskA}, part{name: "vdb", disk: diskB},
		part{name: definitionItem, content: definition(name, dir, more)})}, name
}

// wantNoDomain fails if a domain of that name has been defined.
func wantNoDomain(t *testing.T, name string) {
	t.Helper()
	if exec.Command("virsh", "-q", "-c", testguest.URI, "domstate", name).Run() == nil {
		t.Errorf("VM %s is defined", name)
	}
}

func TestNothingThatExistsIsTouched(t *testing.T) {
	home := testguest.Dir(t)
	pool(t, home)
	w, name := small(t, home, "<interface type='user'><mac address='52:54:00:AB:CD:02'/></interface>")
	first, err := w.define(t, Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantSaid(t, first.Changes, "generation ID")
	wantSaid(t, first.Notes, "whether it was started with the host is not in a backup")
	if first.UUID != "4082c95f-784b-4e9b-9763-65720efc0f5f" || len(first.Changes) != 1 || len(first.Warnings) > 0 {
		t.Errorf("%+v", first)
	}
	wantSame(t, home+"/b.img", string(diskB))
	run(t, "qemu-img", "check", home+"/a.qcow2")

	// The name is taken.
	dir := testguest.Dir(t)
	_, err = w.define(t, Options{DiskDir: dir})
	wantError(t, err, name, "it exists on qemu:///system, and is not touched", "--name NEW")
	wantEmpty(t, dir)

	// The UUID and the MAC address are.
	twin := testguest.Adopt(t, name+"-twin")
	second, err := w.define(t, Options{Name: twin.Name, DiskDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	wantSaid(t, second.Changes, "name: ", fmt.Sprintf("UUID: %s instead of %s, which VM %q has", second.UUID, first.UUID, name), "MAC: 52:54:00:", "disk vda: "+dir)
	if second.UUID == first.UUID {
		t.Error("two VMs have one UUID")
	}
	xml := testguest.Virsh(t, "dumpxml", "--inactive", twin.Name)
	if strings.Contains(strings.ToLower(xml), "52:54:00:ab:cd:02") || strings.Contains(xml, "6d8c3a52") || !strings.Contains(xml, "cache='none'") {
		t.Errorf("the definition is %s", xml)
	}

	// The files are.
	third := testguest.Adopt(t, name+"-third")
	squatter := filepath.Join(dir, third.Name+"-vdb.raw")
	if err := os.WriteFile(squatter, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = w.define(t, Options{Name: third.Name, DiskDir: dir})
	wantError(t, err, squatter+" exists, and is not touched", "--disk-dir")
	wantSame(t, squatter, "mine")
	wantNoDomain(t, third.Name)
	if got := names(t, dir); got != third.Name+"-vdb.raw "+twin.Name+"-vda.qcow2 "+twin.Name+"-vdb.raw" {
		t.Errorf("the directory holds %s", got)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// TestAnImageOfAnotherDefinitionIsNotTaken: nothing is at the path, but a VM that is shut off will make or want it.
func TestAnImageOfAnotherDefinitionIsNotTaken(t *testing.T) {
	home := testguest.Dir(t)
	pool(t, home)
	w, name := small(t, home, "")
	if _, err := w.define(t, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"a.qcow2", "b.img"} {
		if err := os.Remove(filepath.Join(home, file)); err != nil {
			t.Fatal(err)
		}
	}
	p := &plan{snap: w.snap}
	p.taken = surveyed(t)
	if why := p.notFree(home + "/a.qcow2"); !strings.Contains(why, name) {
		t.Errorf("the image of a defined VM is free for another: %q", why)
	}
	wantError(t, p.add(planned{path: home + "/b.img"}), name, "--disk-dir")
}

// TestHalfWay lets it fail after the first disk, in several ways: nothing may be left of it.
func TestHalfWay(t *testing.T) {
	t.Run("libvirt refuses", func(t *testing.T) {
		w, name := small(t, "/nonexistent", "<controller type='scsi' index='0' model='no-such-model'/>")
		dir := filepath.Join(testguest.Dir(t), "made")
		_, err := w.define(t, Options{DiskDir: dir})
		wantError(t, err, name, "libvirt refuses its definition", "no-such-model", "what had been made was removed")
		wantEmpty(t, filepath.Dir(dir))
		wantNoDomain(t, name)
	})
	t.Run("no space for the second disk", func(t *testing.T) {
		w, name := small(t, "/nonexistent", "")
		dir := testguest.Dir(t)
		tmpfs(t, dir, "size=32m,nr_inodes=2,mode=755") // the directory, and one file
		_, err := w.define(t, Options{DiskDir: dir})
		wantError(t, err, name+"-vdb.raw", "no space left", "what had been made was removed")
		wantEmpty(t, dir)
		wantNoDomain(t, name)
	})
	t.Run("no space", func(t *testing.T) {
		w, name := small(t, "/nonexistent", "")
		dir := testguest.Dir(t)
		tmpfs(t, dir, "size=4m,mode=755") // enough for either
		_, err := w.define(t, Options{DiskDir: filepath.Join(dir, "new")})
		var space *restore.SpaceError
		if !errors.As(err, &space) || space.Dir != dir || space.Need < int64(len(diskA)+len(diskB)) || space.Free > 4<<20 {
			t.Errorf("%v", err)
		}
		wantEmpty(t, dir)
		wantNoDomain(t, name)
	})
	t.Run("interrupted", func(t *testing.T) {
		w, name := small(t, "/nonexistent", "")
		dir := testguest.Dir(t)
		ctx, cancel := context.WithCancel(t.Context())
		progress := new(restore.Progress)
		go func() {
			for progress.Done.Load() < int64(len(diskA)) && ctx.Err() == nil {
				time.Sleep(50 * time.Microsecond)
			}
			cancel()
		}()
		_, err := Define(ctx, w.repo, w.snap, Options{DiskDir: dir, Connect: testguest.URI, Progress: progress})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		wantEmpty(t, dir)
		wantNoDomain(t, name)
	})
}

func tmpfs(t *testing.T, dir, options string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

// TestRefusedBeforeAnythingIsWritten holds what makes no sense to begin.
func TestRefusedBeforeAnythingIsWritten(t *testing.T) {
	testguest.Daemon(t)
	whole := definition("define-refused", "/nonexistent", "")
	disks := []part{{name: "vda", disk: diskB}, {name: "vdb", disk: diskB}}
	for name, c := range map[string]struct {
		xml   string
		more  []part
		words []string
	}{
		"no definition":     {"", nil, []string{"holds no domain.xml", "--to DEST"}},
		"no XML":            {"<domain", nil, []string{"not XML"}},
		"another thing":     {"<network/>", nil, []string{"not the definition of a domain"}},
		"deep":              {strings.Repeat("<domain>", 200) + strings.Repeat("</domain>", 200), nil, []string{"deep"}},
		"no name":           {strings.Replace(whole, "define-refused", "", 1), nil, []string{"--name"}},
		"a path as name":    {strings.Replace(whole, "define-refused", "../../etc/x", 1), nil, []string{"cannot be the name", "--name"}},
		"a path as disk":    {strings.Replace(whole, "dev='vda'", "dev='../x'", 1), []part{{name: "../x", disk: diskB}}, []string{"a name that no disk has"}},
		"two disks of one":  {strings.Replace(whole, "dev='vdb'", "dev='vda'", 1), nil, []string{"two disks vda"}},
		"other disks":       {strings.NewReplacer("dev='vdb'", "dev='sdb'", "dev='vda'", "dev='sda'").Replace(whole), nil, []string{"none of the disks"}},
		"no such machine":   {strings.Replace(whole, "machine='pc'", "machine='pc-q35-99.9'", 1), nil, []string{"cannot run such a machine", "pc-q35-99.9"}},
		"no such firmware":  {strings.Replace(whole, "</type>", "</type><loader readonly='yes' type='pflash'>/usr/share/OVMF/NONE.fd</loader>", 1), nil, []string{"/usr/share/OVMF/NONE.fd is not on this host", "ovmf"}},
		"TPM not a tar":     {strings.Replace(whole, "</devices>", "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices>", 1), []part{{name: tpmItem, content: "no tar"}}, []string{tpmItem, "not a tar"}},
		"two sources":       {strings.Replace(whole, "<source", "<source file='/nonexistent/x'/><source", 1), nil, []string{"2 elements source in one disk"}},
		"two NVRAMs":        {strings.Replace(whole, "</os>", "<nvram>/a</nvram><nvram>/b</nvram></os>", 1), nil, []string{"2 elements nvram in one os"}},
		"two ways to boot":  {strings.Replace(whole, "</os>", "</os><os><nvram>/b</nvram></os>", 1), nil, []string{"2 elements os in one domain"}},
		"a false readonly":  {strings.Replace(whole, "</disk>", "<x:readonly xmlns:x='urn:x'/></disk>", 1), nil, []string{"x:readonly is of another namespace"}},
		"a hidden readonly": {strings.Replace(whole, "</disk>", "<readonly xmlns='urn:x'/></disk>", 1), nil, []string{"readonly is of another namespace"}},
		"a false device":    {strings.Replace(whole, "<disk ", "<disk xmlns:x='urn:x' x:device='cdrom' ", 1), nil, []string{"of disk is of another namespace"}},
		"a long definition": {"<domain>" + strings.Repeat(" ", definitionLimit) + "</domain>", nil, []string{"domain.xml has", "plausible"}},
	} {
		t.Run(name, func(t *testing.T) {
			parts := append(append([]part{}, disks...), c.more...)
			if c.xml != "" {
				parts = append(parts, part{name: definitionItem, content: c.xml})
			}
			r, dir := newRepo(t), testguest.Dir(t)
			w := &world{r, makeUp(t, r, parts...)}
			_, err := w.define(t, Options{DiskDir: dir})
			wantError(t, err, c.words...)
			wantEmpty(t, dir)
			wantNoDomain(t, "define-refused")
		})
	}
	t.Run("another host", func(t *testing.T) {
		r := newRepo(t)
		snap := makeUp(t, r, append(disks, part{name: definitionItem, content: whole})...)
		for uri, word := range map[string]string{"qemu+ssh://elsewhere/system": "names another host", "test:///default": "use --connect qemu:///system"} {
			_, err := Define(t.Context(), r, snap, Options{Connect: uri})
			wantError(t, err, word)
		}
	})
}

// TestWhatTheHostLacks: such a VM is restored, and one is told; it cannot be started yet.
func TestWhatTheHostLacks(t *testing.T) {
	closed := filepath.Join(testguest.Dir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	w, name := small(t, "/nonexistent", `<interface type='network'><source network='no-such-net'/></interface>
		<interface type='bridge'><source bridge='no-such-br'/></interface>
		<disk type='file' device='disk'><driver type='raw'/><source file='/nonexistent/passed'/><target dev='vdc' bus='virtio'/><readonly/></disk>
		<disk type='volume' device='cdrom'><driver name='qemu' type='raw'/><source pool='no-such-pool' volume='x.iso'/><target dev='hda' bus='ide'/><readonly/></disk>
		<disk type='block' device='cdrom'><driver name='qemu' type='raw'/><source dev='/dev/no-such-drive'/><target dev='hdb' bus='ide'/><readonly/></disk>
		<disk type='file' device='floppy'><source file='/dev/null'/><target dev='fda' bus='fdc'/></disk>
		<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0xfe' slot='0x1f' function='0x7'/></source></hostdev>
		<tpm model='tpm-crb'><backend type='emulator' version='2.0'><encryption secret='7d3f1c52-0000-4a0c-8c7b-0b6f1e6ad001'/></backend></tpm>
		<filesystem type='mount'><source dir='/nonexistent/share'/><target dir='s'/></filesystem>
		<emulator>/nonexistent/qemu</emulator>`)
	result, err := w.define(t, Options{DiskDir: closed, Start: true})
	if !errors.Is(err, ErrNotStarted) {
		t.Fatal(err)
	}
	wantError(t, err, name, "is restored and defined, but it does not start", "no-such-net", "set that right")
	wantSaid(t, result.Warnings, `its network "no-such-net" does not exist here`, "its bridge no-such-br does not exist here",
		"disk vdc is left out: /nonexistent/passed is neither", "the folder /nonexistent/share", "the snapshot's definition shares /nonexistent/share of this host", "QEMU's user cannot pass "+closed,
		"the PCI device 0000:fe:1f.7 is left out: it is not on this host", "its TPM's state is encrypted with the secret 7d3f1c52", "the snapshot holds no TPM state")
	wantSaid(t, result.Changes, "emulator: libvirt's own choice", "disk hda: an empty drive, as volume x.iso of pool no-such-pool", "disk hdb: an empty drive, as /dev/no-such-drive")
	wantSaid(t, result.Notes, "disk fda: /dev/null is not in the snapshot, and used as it is")
	if result.Started || len(result.Written) != 2 {
		t.Errorf("%+v", result)
	}
	if state := testguest.Virsh(t, "domstate", name); state != "shut off" {
		t.Errorf("VM is %s", state)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
