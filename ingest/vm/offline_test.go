package vm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
	"vaultfs/repo"
)

func itemNames(s *repo.Snapshot) (names []string) {
	for _, it := range s.Items {
		names = append(names, it.Name)
	}
	return names
}

func TestOfflineIngest(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Format: "qcow2", Bus: "virtio", Size: "64M"},
		{Format: "raw", Bus: "scsi", Size: "40M"},
	}})
	fill(t, g.Paths[0])
	fill(t, g.Paths[1])
	overlay := filepath.Join(g.Dir, "overlay, top.qcow2")
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "vda.qcow2", "-F", "qcow2", overlay)
	shell(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x44 512k 1M", overlay)
	testguest.Virsh(t, "detach-disk", g.Name, "vda", "--config")
	testguest.Virsh(t, "attach-disk", g.Name, "--source", overlay, "--target", "vda", "--subdriver", "qcow2", "--config")

	r := newRepo(t)
	result, err := Ingest(t.Context(), r, g.Name, Options{Connect: uri, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	s := result.Snapshot
	if s.Source != "vm/"+g.Name || s.Info.Mode != ModeOffline || s.Info.Quiesced != "yes: shut off" || result.Warnings != nil {
		t.Errorf("snapshot %+v, warnings %q", s, result.Warnings)
	}
	if names := itemNames(s); len(names) != 4 || !slices.Contains(names, "domain.xml") || !slices.Contains(names, "report.md") {
		t.Errorf("items %v", names)
	}
	wantSame(t, restore(t, r, s, "vda"), overlay, "qcow2")
	wantSame(t, restore(t, r, s, "sda"), g.Paths[1], "raw")
	if it := item(t, s, "vda"); it.Path != overlay || it.Format != "qcow2" {
		t.Errorf("vda: %+v", it)
	}
	if xml := text(t, r, s, "domain.xml"); !strings.Contains(xml, "<name>"+g.Name+"</name>") {
		t.Errorf("domain.xml: %s", xml)
	}
	wantState(t, g, "shut off")
}

// A raw disk stays raw whatever the guest wrote into it.
func TestRawDiskThatLooksLikeQcow2(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "1M"}}})
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", filepath.Join(g.Dir, "evil"), "1M")
	evil, err := os.ReadFile(filepath.Join(g.Dir, "evil"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(g.Paths[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(evil, 0); err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	result, err := Ingest(t.Context(), r, g.Name, Options{Connect: uri})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, restore(t, r, result.Snapshot, "vda"), g.Paths[0], "raw")
}

func TestVolumeOfAStoragePool(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "8M"}}})
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", filepath.Join(g.Dir, "v.qcow2"), "32M")
	fill(t, filepath.Join(g.Dir, "v.qcow2"))
	testguest.Virsh(t, "pool-create-as", g.Name, "dir", "--target", g.Dir)
	t.Cleanup(func() { testguest.Virsh(t, "pool-destroy", g.Name) })
	xml := filepath.Join(g.Dir, "disk.xml")
	disk := `<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='` + g.Name +
		`' volume='v.qcow2'/><target dev='vdb' bus='virtio'/></disk>`
	if err := os.WriteFile(xml, []byte(disk), 0o600); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "attach-device", g.Name, xml, "--config")
	r := newRepo(t)
	result, err := Ingest(t.Context(), r, g.Name, Options{Connect: uri})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, restore(t, r, result.Snapshot, "vdb"), filepath.Join(g.Dir, "v.qcow2"), "qcow2")
	// As the live definition has it, so that a change of mode does not make it look like another disk.
	if it := item(t, result.Snapshot, "vdb"); it.Path != g.Name+"/v.qcow2" {
		t.Errorf("vdb: %+v", it)
	}
}

// A guest that is off is quiesced only if it went off by itself.
func TestGuestThatDidNotGoOffByItself(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	quiesced := func() string {
		t.Helper()
		r := runOf(t, d, new(Options))
		o, err := beginOffline(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
		var result Result
		o.tell(&result)
		return result.Quiesced
	}
	shell(t, "kill", "-9", strings.TrimSpace(shell(t, "cat", "/run/libvirt/qemu/"+g.Name+".pid")))
	waitFor(t, "libvirt to see it", func() bool { return g.State() == "shut off" })
	if got := quiesced(); got != "no: the guest crashed" {
		t.Errorf("crashed: quiesced %q", got)
	}
	g.Start()
	g.Destroy()
	if got := quiesced(); got != "no: the guest was forced off while it ran" {
		t.Errorf("destroyed: quiesced %q", got)
	}
}

// Whatever touches the images or starts the guest while they are read spoils the read.
func TestOfflineReadIsSpoiled(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "8M"}}})
	_, d := domainOf(t, g)
	spoil := map[string]func(){
		"was started": g.Start,
		"written to": func() {
			shell(t, "dd", "if=/dev/zero", "of="+g.Paths[0], "bs=512", "count=1", "conv=notrunc", "status=none")
		},
		"replaced": func() { shell(t, "sh", "-c", "cp $0 $0.new && mv $0.new $0", g.Paths[0]) },
		"resized":  func() { shell(t, "truncate", "-s", "9M", g.Paths[0]) },
	}
	for what, do := range spoil {
		t.Run(what, func(t *testing.T) {
			o, err := beginOffline(t.Context(), runOf(t, d, new(Options)))
			if err != nil {
				t.Fatal(err)
			}
			defer o.close()
			if err := o.check(t.Context()); err != nil {
				t.Fatal(err)
			}
			do()
			wantError(t, o.check(t.Context()), g.Name, what)
			wantError(t, o.explain(errors.New("EIO")), g.Name, what, "EIO")
			if g.State() == "running" {
				g.Destroy()
			}
		})
	}
}

func TestImagesThatAreNotFollowed(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "8M"}}})
	rebase := func(args ...string) {
		shell(t, "qemu-img", append(append([]string{"rebase", "-u"}, args...), g.Paths[0])...)
	}
	for name, c := range map[string]struct {
		args  []string
		words []string
	}{
		"json":      {[]string{"-F", "raw", "-b", `json:{"driver":"raw","file.filename":"/etc/passwd"}`}, []string{"no plain file name"}},
		"protocol":  {[]string{"-F", "raw", "-b", "nbd://localhost/x"}, []string{"no plain file name"}},
		"missing":   {[]string{"-F", "raw", "-b", "not-there.raw"}, []string{"backing file is missing", "not-there.raw"}},
		"directory": {[]string{"-F", "raw", "-b", "/etc"}, []string{"neither a file nor a block device"}},
	} {
		t.Run(name, func(t *testing.T) {
			rebase(c.args...)
			r := newRepo(t)
			_, err := Ingest(t.Context(), r, g.Name, Options{Connect: uri})
			wantError(t, err, append(c.words, g.Name, "vda")...)
			wantNoSnapshots(t, r)
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "1M"}}})
	r := newRepo(t)
	ingest := func(name string, o Options) error {
		_, err := Ingest(t.Context(), r, name, o)
		return err
	}
	wantError(t, ingest("nobody", Options{Connect: uri}), `VM "nobody" does not exist`, g.Name)
	wantError(t, ingest(g.Name, Options{Connect: uri, Mode: ModeLive}), "not running", "--mode offline")
	wantError(t, ingest(g.Name, Options{Connect: uri, Mode: "warm"}), `mode "warm"`)
	wantError(t, ingest(g.Name, Options{Connect: "qemu+ssh://root@elsewhere/system"}), "another host", "elsewhere")
	wantError(t, ingest(g.Name, Options{Connect: "qemu+unix:///system?socket=/nonexistent/libvirt-sock"}), "not running", "systemctl start libvirtd")
	testguest.Virsh(t, "start", g.Name)
	wantError(t, ingest(g.Name, Options{Connect: uri, Mode: ModeOffline}), "is running", "shut it down", "--mode live")
	testguest.Virsh(t, "destroy", g.Name)
	testguest.Virsh(t, "detach-disk", g.Name, "vda", "--config")
	wantError(t, ingest(g.Name, Options{Connect: uri}), "has no disks")
	wantNoSnapshots(t, r)

	list, err := List(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(list, func(d Domain) bool { return d.Name == g.Name })
	if at < 0 || list[at].State != "shut off" || list[at].Disks != 0 || len(list[at].UUID) != 36 {
		t.Errorf("list: %+v", list)
	}
}
