package vm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/internal/testguest"
)

// partition is where the filesystem of the test guest's disk begins, in bytes.
const partition = 1 << 20

// TestRunningGuest shares one booted guest among all that needs one: booting takes a while without KVM.
func TestRunningGuest(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Base: true, Format: "qcow2", Bus: "virtio"},
		{Format: "raw", Bus: "scsi", Size: "96M"},
	}})
	// QEMU sees the mounts that were there when it was started.
	small := testguest.Dir(t)
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=4m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	g.Start()
	g.WaitAgent()
	t.Run("ingest while it writes", func(t *testing.T) { ingestWhileWriting(t, g) })
	g.Run("touch /run/slowly") // it goes on writing, with some of the processor left to the tests beside this one
	t.Run("scratch space runs out", func(t *testing.T) { scratchRunsOut(t, g, small) })
	t.Run("scratch space runs short", func(t *testing.T) { scratchRunsShort(t, g, small) })
	t.Run("stalls at the end", func(t *testing.T) { stallsAtTheEnd(t, g, small) })
	t.Run("killed while it is stalled", func(t *testing.T) { killedWhileStalled(t, g, small) })
	t.Run("connection lost while frozen", func(t *testing.T) { lostWhileFrozen(t, g) })
	t.Run("killed while it is frozen", func(t *testing.T) { killedWhileFrozen(t, g) })
	t.Run("found frozen", func(t *testing.T) { foundFrozen(t, g) })
	t.Run("cancelled ingest", func(t *testing.T) { cancelledIngest(t, g) })
	t.Run("agent hangs", func(t *testing.T) { agentHangs(t, g) })
	t.Run("destroyed ingest", func(t *testing.T) { destroyedIngest(t, g) })
}

// ingestWhileWriting has the guest rewrite files all the time: what was there before the freeze must come back as the
// guest itself saw it, on filesystems that need no repair but the journal's replay.
func ingestWhileWriting(t *testing.T, g *testguest.Guest) {
	sums := g.Run(`mkfs.ext4 -q /dev/sda; mkdir -p /data; mount /dev/sda /data
		head -c 20000000 /dev/urandom >/root/before; head -c 20000000 /dev/urandom >/data/before
		sha256sum /root/before /data/before
		setsid sh -c 'while :; do for d in /root /data; do head -c 3000000 /dev/urandom >$d/busy; rm $d/busy; done; [ ! -e /run/slowly ] || sleep 0.5; done' >/dev/null 2>&1 &`)
	want := strings.Fields(sums)
	dir, r := testguest.Dir(t), newRepo(t)
	result, err := Ingest(t.Context(), r, g.Name, Options{Connect: uri, ScratchDir: dir, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	s := result.Snapshot
	t.Logf("quiesced %s, %+v", s.Info.Quiesced, s.Info.Summary)
	if s.Info.Mode != ModeLive || !strings.HasPrefix(s.Info.Quiesced, "yes: frozen for") || len(result.Warnings) > 0 {
		t.Errorf("mode %s, quiesced %q, warnings %q", s.Info.Mode, s.Info.Quiesced, result.Warnings)
	}
	if result.Frozen <= 0 || result.Frozen > agentTimeout {
		t.Errorf("frozen for %v", result.Frozen)
	}
	if g.Frozen() {
		t.Error("guest is still frozen")
	}
	wantState(t, g, "running")
	wantNoJob(t, g, dir)
	if names := strings.Join(itemNames(s), " "); names != "vda sda domain.xml domain-live.xml checkpoints.xml report.md" {
		t.Errorf("items: %s", names)
	}
	if live := text(t, r, s, "domain-live.xml"); !strings.Contains(live, "<seclabel") {
		t.Errorf("domain-live.xml: %s", live)
	}
	if got := sumInside(t, restore(t, r, s, "vda"), partition, "/root/before"); got != want[0] {
		t.Errorf("vda: sha256 %s, the guest says %s", got, want[0])
	}
	if got := sumInside(t, restore(t, r, s, "sda"), 0, "/before"); got != want[2] {
		t.Errorf("sda: sha256 %s, the guest says %s", got, want[2])
	}
}

// sumInside checks the ext4 filesystem at an offset of a raw disk and gives the SHA-256 of one of its files.
func sumInside(t *testing.T, raw string, offset int64, file string) string {
	t.Helper()
	fs := filepath.Join(t.TempDir(), "fs")
	shell(t, "cp", "--sparse=always", raw, fs)
	if offset > 0 {
		shell(t, "fallocate", "--collapse-range", "--offset", "0", "--length", "1048576", fs)
	}
	// The journal is replayed, as the guest's kernel would; after that nothing may be left to repair.
	shell(t, "sh", "-c", "e2fsck -p -E journal_only $0 || [ $? = 1 ]", fs)
	shell(t, "e2fsck", "-fn", fs)
	out := filepath.Join(t.TempDir(), "file")
	shell(t, "debugfs", "-R", "dump "+file+" "+out, fs)
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

// scratchRunsOut gives the job less room than the guest overwrites: the read must fail, not return newer bytes, and the
// guest go on without having seen an error.
func scratchRunsOut(t *testing.T, g *testguest.Guest, dir string) {
	_, d := domainOf(t, g)
	l, err := beginLive(t.Context(), runOf(t, d, &Options{ScratchDir: dir, keepFree: nothing}))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(g)
	wantError(t, firstFailure(t, l), "no space left", dir)
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
	wantWritten(t, g)
}

// scratchRunsShort must end the job before the guest is held up.
func scratchRunsShort(t *testing.T, g *testguest.Guest, dir string) {
	_, d := domainOf(t, g)
	_, err := beginLive(t.Context(), runOf(t, d, &Options{ScratchDir: dir, NoQuiesce: true}))
	wantError(t, err, g.Name, "MiB are free in "+dir, "256 MiB must stay free", "--scratch-dir")
	wantNoJob(t, g, dir)

	shell(t, "mount", "-o", "remount,size=40m", dir)
	defer shell(t, "mount", "-o", "remount,size=4m", dir)
	most := func(size int64) int64 { return size - 4<<20 }
	l, err := beginLive(t.Context(), runOf(t, d, &Options{ScratchDir: dir, NoQuiesce: true, keepFree: most}))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(g)
	wantError(t, firstFailure(t, l), g.Name, "stopped before", "must stay free", "--scratch-dir")
	wantState(t, g, "running")
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantWritten(t, g)
}

// overwrite has the guest begin to write many blocks that it wrote before.
func overwrite(g *testguest.Guest) {
	g.Run(`rm -f /root/status; setsid sh -c 'dd if=/dev/urandom of=/root/before bs=1M count=19 conv=notrunc,fsync 2>/root/dd; echo $? >/root/status' >/dev/null 2>&1 &`)
}

// wantWritten waits until overwrite is done, and fails if the guest saw a write fail.
func wantWritten(t *testing.T, g *testguest.Guest) {
	t.Helper()
	if status := g.Run("while [ ! -e /root/status ]; do sleep 0.2; done; cat /root/status; dmesg | grep -c 'I/O error' || true"); status != "0\n0" {
		t.Errorf("the guest saw its writes fail: %s", status)
	}
}

// firstFailure looks at a guest until there is something wrong.
func firstFailure(t *testing.T, l *live) (err error) {
	t.Helper()
	waitFor(t, "a failure", func() bool { err = l.check(t.Context()); return err != nil })
	return err
}

// cancelledIngest is Ctrl-C while the disks are read.
func cancelledIngest(t *testing.T, g *testguest.Guest) {
	dir, r := testguest.Dir(t), newRepo(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Connect: uri, ScratchDir: dir}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for o.Progress.Read.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := Ingest(ctx, r, g.Name, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled ingest: %v", err)
	}
	wantNoSnapshots(t, r)
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
	if g.Frozen() {
		t.Error("guest is frozen")
	}
}

// agentHangs stops the agent for a while: the backup is made all the same, and says that the guest was not frozen.
func agentHangs(t *testing.T, g *testguest.Guest) {
	g.Run(`setsid sh -c 'sleep 0.2; kill -STOP $(pidof qemu-ga); sleep 18; kill -CONT $(pidof qemu-ga)' >/dev/null 2>&1 &`)
	time.Sleep(5 * time.Second)
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	l, err := beginLive(t.Context(), runOf(t, d, &Options{ScratchDir: dir}))
	if err != nil {
		t.Fatal(err)
	}
	if l.quiesce.frozen || !strings.Contains(l.quiesce.warning, "did not answer in time") {
		t.Errorf("quiesced: %+v", l.quiesce)
	}
	if err := l.check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	g.WaitAgent()
	if g.Frozen() {
		t.Error("guest is frozen after its agent went on")
	}
}

// destroyedIngest pulls the guest's plug while its disks are read.
func destroyedIngest(t *testing.T, g *testguest.Guest) {
	dir, r := testguest.Dir(t), newRepo(t)
	o := Options{Connect: uri, ScratchDir: dir, NoQuiesce: true}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for o.Progress.Read.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		g.Destroy()
	}()
	_, err := Ingest(t.Context(), r, g.Name, o)
	wantError(t, err, g.Name, "stopped while it was being read")
	wantNoSnapshots(t, r)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch directory: %v %v", left, err)
	}
}
