package vm

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/internal/testguest"
	"vaultfs/repo"
)

// overlaid is a booted guest that writes all the time if it is told to, with a disk over an image that all test guests
// share and a raw one.
type overlaid struct {
	*testguest.Guest
	repo  *repo.Repo
	state string
	sums  map[string]string // SHA-256 of its files, by path in the guest
}

// TestOverlaysOfAWritingGuest shares one booted guest.
func TestOverlaysOfAWritingGuest(t *testing.T) {
	t.Parallel()
	image := testguest.Image(t)
	before := sumOf(t, image)
	g := &overlaid{repo: newRepo(t), state: testguest.Dir(t), sums: map[string]string{}}
	g.Guest = testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Base: true, Format: "qcow2", Bus: "virtio"},
		{Format: "raw", Bus: "scsi", Size: "96M"},
	}})
	// QEMU sees the mounts that were there when it was started.
	small := smallFilesystem(t)
	g.Start()
	g.WaitAgent()
	g.Run(`mkfs.ext4 -q /dev/sda; mkdir -p /data; mount /dev/sda /data
		setsid sh -c 'while :; do
			[ ! -e /root/quiet ] || { sleep 0.2; continue; }
			for d in /root /data; do head -c 3000000 /dev/urandom >$d/busy; rm -f $d/busy; done
		done' >/dev/null 2>&1 &`)
	g.quiet(true)
	t.Run("between two live backups", func(t *testing.T) { betweenLiveBackups(t, g) })
	t.Run("cancelled", func(t *testing.T) { cancelledOverlays(t, g) })
	t.Run("unplugged", func(t *testing.T) { unpluggedUnderOverlay(t, g) })
	t.Run("space runs out", func(t *testing.T) { overlaySpaceRunsOut(t, g, small) })
	t.Run("destroyed", func(t *testing.T) { destroyedWhileReading(t, g) })
	if sumOf(t, image) != before {
		t.Fatalf("%s has changed, which all guests share", image)
	}
}

// smallFilesystem is a file system of 24 MB on disk.
func smallFilesystem(t *testing.T) string {
	t.Helper()
	image, dir := filepath.Join(testguest.Dir(t), "small.img"), testguest.Dir(t)
	shell(t, "truncate", "-s", "24M", image)
	shell(t, "mkfs.ext4", "-q", "-m", "0", image)
	shell(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	shell(t, "rmdir", filepath.Join(dir, "lost+found"))
	return dir
}

// quiet has the guest write nothing of itself, or write all the time.
func (g *overlaid) quiet(quiet bool) {
	g.Run(map[bool]string{true: "touch /root/quiet", false: "rm /root/quiet"}[quiet])
}

// newFile has the guest make a file of 5 MB on each disk.
func (g *overlaid) newFile(name string) {
	out := strings.Fields(g.Run(`for f in /root/` + name + ` /data/` + name + `; do head -c 5000000 /dev/urandom >$f; sha256sum $f; done; sync`))
	for i := 0; i+1 < len(out); i += 2 {
		g.sums[out[i+1]] = out[i]
	}
}

func (g *overlaid) options(method string) Options {
	return Options{Connect: uri, StateDir: g.state, Method: method}
}

// backup makes a snapshot.
func (g *overlaid) backup(t *testing.T, method string) *Result {
	t.Helper()
	result, err := Ingest(t.Context(), g.repo, g.Name, g.options(method))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s; %+v", method, result.Quiesced, result.Disks)
	if len(result.Warnings) > 0 || result.Method != method || !strings.HasPrefix(result.Quiesced, "yes: frozen for") {
		t.Errorf("method %s, quiesced %q, warnings %q", result.Method, result.Quiesced, result.Warnings)
	}
	if g.Frozen() {
		t.Error("guest is still frozen")
	}
	wantState(t, g.Guest, "running")
	wantEmpty(t, filepath.Join(g.state, "scratch"))
	return result
}

// wantFiles fails unless a snapshot holds these files as the guest made them.
func (g *overlaid) wantFiles(t *testing.T, s *repo.Snapshot, names ...string) {
	t.Helper()
	vda, sda := restore(t, g.repo, s, "vda"), restore(t, g.repo, s, "sda")
	for _, name := range names {
		if got, want := sumInside(t, vda, partition, "/root/"+name), g.sums["/root/"+name]; got != want {
			t.Errorf("/root/%s: sha256 %s, the guest says %s", name, got, want)
		}
		if got, want := sumInside(t, sda, 0, "/"+name), g.sums["/data/"+name]; got != want {
			t.Errorf("/data/%s: sha256 %s, the guest says %s", name, got, want)
		}
	}
}

// betweenLiveBackups reads with overlays between a live backup and the next, for which the first one's checkpoint must
// still be good.
func betweenLiveBackups(t *testing.T, g *overlaid) {
	g.newFile("first")
	first := g.backup(t, MethodBackup)
	if first.Checkpoint == "" {
		t.Fatal("no checkpoint was made")
	}
	g.newFile("second")
	g.quiet(false)
	g.Run(pauseProbe)
	with := g.backup(t, MethodSnapshot)
	t.Logf("longest pause between two synchronous writes: %s", g.Run("touch /root/stop; while [ ! -e /root/pause ]; do sleep 0.1; done; cat /root/pause"))
	g.quiet(true)
	g.wantFiles(t, with.Snapshot, "second")
	for _, d := range with.Disks {
		if d.How != "full: "+everythingRead || d.Checkpoint != "" {
			t.Errorf("disk %s: %s, checkpoint %q", d.Target, d.How, d.Checkpoint)
		}
	}
	if names := strings.Join(itemNames(with.Snapshot), " "); names != "vda sda domain.xml domain-live.xml checkpoints.xml report.md" {
		t.Errorf("items: %s", names)
	}
	if with.Checkpoint != first.Checkpoint {
		t.Errorf("checkpoint %q, was %q", with.Checkpoint, first.Checkpoint)
	}
	g.newFile("third")
	next := g.backup(t, MethodBackup)
	g.wantFiles(t, next.Snapshot, "second", "third")
	if how := next.Disks[0].How; how != "incremental from "+first.Snapshot.Short() {
		t.Errorf("the live backup after that was %q", how)
	}
	if errors := g.Run("dmesg | grep -c 'I/O error' || true"); errors != "0" {
		t.Errorf("the guest saw %s I/O errors", errors)
	}
}

// pauseProbe writes synchronously all the time until /root/stop is there, and leaves the longest time that one write
// took in /root/pause.
const pauseProbe = `rm -f /root/stop /root/pause
setsid sh -c 'max=0; last=$(cut -d" " -f1 /proc/uptime | tr -d .)
while [ ! -e /root/stop ]; do
	dd if=/dev/zero of=/root/probe bs=4k count=1 conv=notrunc oflag=dsync 2>/dev/null
	now=$(cut -d" " -f1 /proc/uptime | tr -d .); took=$((now-last)); last=$now
	[ $took -le $max ] || max=$took
done; echo "${max}0 ms" >/root/pause' >/dev/null 2>&1 &`

// whileReading calls do once the disks are being read.
func whileReading(o *Options, do func()) {
	go func() {
		for o.Progress.Read.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		do()
	}()
}

// cancelledOverlays is Ctrl-C while the disks are read: the overlays are committed all the same.
func cancelledOverlays(t *testing.T, g *overlaid) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := g.options(MethodSnapshot)
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	g.quiet(false)
	whileReading(&o, cancel)
	if _, err := Ingest(ctx, g.repo, g.Name, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled ingest: %v", err)
	}
	g.quiet(true)
	wantEmpty(t, filepath.Join(g.state, "scratch"))
	wantState(t, g.Guest, "running")
	if xml := testguest.Virsh(t, "dumpxml", g.Name); strings.Contains(xml, overlaysSuffix) {
		t.Errorf("an overlay is left: %s", xml)
	}
	if left, err := leftEntries(g.state); err != nil || len(left) > 0 {
		t.Errorf("left in the journal: %v %v", left, err)
	}
}

// unpluggedUnderOverlay takes a disk out while it is read: what was written to it is in its image then.
func unpluggedUnderOverlay(t *testing.T, g *overlaid) {
	_, d := domainOf(t, g.Guest)
	r := runOf(t, d, overlayOptions(testguest.Dir(t)))
	o, err := beginOverlay(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	sum := strings.Fields(g.Run(`head -c 3000000 /dev/urandom >/data/unplugged; sha256sum /data/unplugged; while ! umount /data; do sleep 0.2; done 2>/dev/null`))[0]
	testguest.Virsh(t, "detach-disk", g.Name, "sda", "--live")
	waitFor(t, "the disk to be gone", func() bool { return !strings.Contains(testguest.Virsh(t, "dumpxml", g.Name), "dev='sda'") })
	wantError(t, o.check(t.Context()), g.Name, "disk sda", "taken out")
	wantTakenOff(t, o)
	wantEmpty(t, r.options.ScratchDir)
	if xml := testguest.Virsh(t, "dumpxml", "--inactive", g.Name); strings.Contains(xml, overlaysSuffix) || !strings.Contains(xml, g.Paths[1]) {
		t.Errorf("definition: %s", xml)
	}
	if got := sumInside(t, g.Paths[1], 0, "/unplugged"); got != sum {
		t.Errorf("sha256 %s, the guest says %s", got, sum)
	}
	testguest.Virsh(t, "attach-disk", g.Name, g.Paths[1], "sda", "--targetbus", "scsi", "--subdriver", "raw", "--live")
	g.Run("while [ ! -e /dev/sda ]; do sleep 0.1; done; mount /dev/sda /data")
}

// overlaySpaceRunsOut fills the file system of the overlays: the guest is held up, and goes on without having seen an
// error.
func overlaySpaceRunsOut(t *testing.T, g *overlaid, dir string) {
	_, d := domainOf(t, g.Guest)
	o, err := beginOverlay(t.Context(), runOf(t, d, overlayOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	g.Run(`rm -f /root/status; setsid sh -c 'dd if=/dev/urandom of=/root/much bs=1M count=40 conv=fsync 2>/root/dd; echo $? >/root/status' >/dev/null 2>&1 &`)
	waitFor(t, "the guest to stall", func() bool { return stalled(d) })
	wantError(t, o.check(t.Context()), g.Name, "no space left", dir, "--scratch-dir")
	wantTakenOff(t, o)
	wantEmpty(t, dir)
	wantState(t, g.Guest, "running")
	wantWritten(t, g.Guest)
}

// destroyedWhileReading pulls the plug. The snapshot is of the moment before, and the guest's own disks have all that
// it wrote until then.
func destroyedWhileReading(t *testing.T, g *overlaid) {
	g.newFile("last")
	o := g.options(MethodSnapshot)
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	g.quiet(false)
	whileReading(&o, g.Destroy)
	result, err := Ingest(t.Context(), g.repo, g.Name, o)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(result.Notes, "; "); !strings.Contains(notes, "the guest stopped while it was read") || len(result.Warnings) > 0 {
		t.Errorf("notes %s, warnings %q", notes, result.Warnings)
	}
	g.wantFiles(t, result.Snapshot, "last")
	wantState(t, g.Guest, "shut off")
	wantEmpty(t, filepath.Join(g.state, "scratch"))
	raw := filepath.Join(t.TempDir(), "vda.raw")
	shell(t, "qemu-img", "check", "-q", g.Paths[0])
	shell(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", g.Paths[0], raw)
	if got := sumInside(t, raw, partition, "/root/last"); got != g.sums["/root/last"] {
		t.Errorf("the image's /root/last: sha256 %s, the guest says %s", got, g.sums["/root/last"])
	}
	if got := sumInside(t, g.Paths[1], 0, "/last"); got != g.sums["/data/last"] {
		t.Errorf("the image's /data/last: sha256 %s, the guest says %s", got, g.sums["/data/last"])
	}
}
