package vm

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// layered is an idle guest with three disks: vda, a qcow2 over a base image as other VMs may share it, sda, a raw file,
// and vdb, a block device.
type layered struct {
	*testguest.Guest
	base    string // of vda
	sum     string // of base
	defined string // its definitions
	live    string
	copies  string // folder of raw copies of the disks as they must be
	round   int    // of writes
}

// qdev is what QEMU calls the disks of a layered guest.
var qdev = map[string]string{
	"vda": "/machine/peripheral/virtio-disk0/virtio-backend",
	"vdb": "/machine/peripheral/virtio-disk1/virtio-backend",
	"sda": "scsi0-0-0-0",
}

// layeredOrder is the place of a disk in Paths.
var layeredOrder = map[string]int{"vda": 0, "sda": 1, "vdb": 2}

func newLayered(t *testing.T) *layered {
	t.Helper()
	dir := testguest.Dir(t)
	image := filepath.Join(dir, "device.raw")
	shell(t, "truncate", "-s", "48M", image)
	device := strings.TrimSpace(shell(t, "losetup", "--find", "--show", image))
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	g := testguest.Define(t, testguest.Spec{
		NoAgent: true,
		Disks: []testguest.Disk{
			{Format: "qcow2", Bus: "virtio", Size: "64M"},
			{Format: "raw", Bus: "scsi", Size: "40M"},
		},
		Extra: fmt.Sprintf(`<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/><source dev='%s'/><target dev='vdb' bus='virtio'/></disk>
			<disk type='file' device='cdrom'><target dev='sdz' bus='scsi'/></disk>`, device),
	})
	l := &layered{Guest: g, base: filepath.Join(dir, "base, shared.qcow2"), copies: dir}
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", l.base, "64M")
	shell(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x55 2M 6M", "-c", "write -P 0x66 40M 1M", l.base)
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", l.base, "-F", "qcow2", g.Paths[0])
	g.Paths = append(g.Paths, device)
	for i, path := range g.Paths {
		format := []string{"qcow2", "raw", "raw"}[i]
		shell(t, "qemu-io", "-f", format, "-c", "write -P 0x11 0 1M", "-c", "write -P 0x22 5M 300k", "-c", "write -P 0x33 20M 7M", path)
		shell(t, "qemu-img", "convert", "-f", format, "-O", "raw", path, l.before(i))
	}
	l.sum = sumOf(t, l.base)
	l.start(t)
	l.defined = testguest.Virsh(t, "dumpxml", "--inactive", g.Name) // libvirt sorts it anew at the first start
	return l
}

// start starts it, if it does not run.
func (l *layered) start(t *testing.T) {
	t.Helper()
	if l.State() != "running" {
		l.Start()
	}
	l.live = testguest.Virsh(t, "dumpxml", l.Name)
}

// before is a raw copy of a disk as it was before the last writeAll.
func (l *layered) before(i int) string { return filepath.Join(l.copies, fmt.Sprint("before", i)) }

// writes are the commands of a round, for qemu-io: where there was data, and where there was none.
func (l *layered) writes() []string {
	return []string{fmt.Sprintf("write -P %d 512k 1M", 0x80+l.round), fmt.Sprintf("write -P %d 30M 64k", 0xc0+l.round)}
}

// write has the guest's QEMU write to a disk, as the guest would.
func (l *layered) write(t *testing.T, target, command string) {
	t.Helper()
	if out := testguest.Virsh(t, "qemu-monitor-command", l.Name, "--hmp", fmt.Sprintf("qemu-io -d %s \"%s\"", qdev[target], command)); strings.Contains(out, "rror") {
		t.Fatalf("writing to %s: %s", target, out)
	}
}

// writeAll writes to each disk.
func (l *layered) writeAll(t *testing.T) {
	t.Helper()
	l.round++
	for target := range qdev {
		for _, command := range l.writes() {
			l.write(t, target, command)
		}
	}
}

// wantBack fails unless the guest is as it was, but for what writeAll wrote last: its definitions, its images, the base that
// others share, and nothing left of the overlays.
func (l *layered) wantBack(t *testing.T, dir string) {
	t.Helper()
	if got := testguest.Virsh(t, "dumpxml", "--inactive", l.Name); got != l.defined {
		t.Errorf("its definition has changed:\n%s", difference(t, l.defined, got))
	}
	state := l.State()
	if got := testguest.Virsh(t, "dumpxml", l.Name); state == "running" && l.live != "" && withoutIndex(got) != withoutIndex(l.live) {
		t.Errorf("its live definition has changed:\n%s", difference(t, l.live, got))
	}
	wantEmpty(t, dir)
	if state == "running" {
		l.Destroy()
	}
	if got := sumOf(t, l.base); got != l.sum {
		t.Error("the shared base image has changed")
	}
	for i, path := range l.Paths {
		format := []string{"qcow2", "raw", "raw"}[i]
		shell(t, "qemu-io", "-f", "raw", "-c", l.writes()[0], "-c", l.writes()[1], l.before(i))
		shell(t, "qemu-img", "compare", "-f", "raw", "-F", format, l.before(i), path)
		if format == "qcow2" {
			shell(t, "qemu-img", "check", "-q", path)
		}
	}
}

// difference is what differs between two texts.
func difference(t *testing.T, a, b string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"a": a, "b": b} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := exec.Command("diff", "-u", filepath.Join(dir, "a"), filepath.Join(dir, "b")).Output()
	return string(out)
}

// withoutIndex drops libvirt's numbers of the images, which rise as images come and go.
func withoutIndex(xml string) string {
	var b strings.Builder
	for line := range strings.Lines(xml) {
		before, after, found := strings.Cut(line, " index='")
		if found && strings.Contains(line, "<source") || strings.Contains(line, "<backingStore") && found {
			_, after, _ = strings.Cut(after, "'")
			line = before + after
		}
		b.WriteString(line)
	}
	return b.String()
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// overlayOptions read with method snapshot.
func overlayOptions(dir string) *Options {
	return &Options{Connect: uri, ScratchDir: dir, Method: MethodSnapshot, NoQuiesce: true, keepFree: nothing}
}

// journalOf is the entry of a run on disk; nil if there is none.
func journalOf(t *testing.T, r *run) *entry {
	t.Helper()
	e, err := readEntry(r.journal.path)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestOverlays reads the images of a guest that goes on writing, though libvirt's daemon is restarted meanwhile.
func TestOverlays(t *testing.T) {
	t.Parallel()
	g := newLayered(t)
	way := newGate(t)
	_, d := domainAt(t, way.uri, g.Guest)
	dir := testguest.Dir(t)
	options := overlayOptions(dir)
	options.Connect = way.uri
	r := runOf(t, d, options)
	o, err := beginOverlay(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if e := journalOf(t, r); e == nil || len(e.Overlays) != 3 {
		t.Errorf("journal: %+v", e)
	}
	g.writeAll(t)
	if len(o.disks) != 3 {
		t.Fatalf("disks: %+v", o.disks)
	}
	way.drop(t)
	wantReadAsBefore(t, g, o)
	for _, disk := range o.disks {
		if disk.whyFull != everythingRead || disk.bitmap != "" {
			t.Errorf("disk %s: bitmap %q, full because %q", disk.target, disk.bitmap, disk.whyFull)
		}
	}
	files, err := o.files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(f.text, overlaysSuffix) {
			t.Errorf("%s names the overlays: %s", f.name, f.text)
		}
	}
	way.drop(t)
	wantTakenOff(t, o)
	result := new(Result)
	o.tell(result)
	if notes, _ := json.Marshal(result); result.Method != MethodSnapshot || result.Quiesced != "no: not asked for" || !strings.Contains(string(notes), "sdz") {
		t.Errorf("%s", notes)
	}
	if e := journalOf(t, r); e != nil {
		t.Errorf("left in the journal: %+v", e)
	}
	wantState(t, g.Guest, "running")
	g.wantBack(t, dir)
}
