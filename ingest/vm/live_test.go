package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"vaultfs/internal/testguest"
)

func liveOptions(dir string) *Options { return &Options{ScratchDir: dir} }

func TestLiveReadsAllDisksAndLeavesThePausedGuestPaused(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{
		NoAgent: true,
		Disks: []testguest.Disk{
			{Format: "qcow2", Bus: "virtio", Size: "64M"},
			{Format: "raw", Bus: "scsi", Size: "40M"},
		},
		Extra: `<disk type='file' device='cdrom'><target dev='sdz' bus='scsi'/></disk>`,
	})
	testguest.Virsh(t, "suspend", g.Name)
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	l, err := beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	if len(l.disks) != 2 || l.disks[0].target != "vda" || l.disks[1].target != "sda" {
		t.Fatalf("disks: %+v", l.disks)
	}
	for i, disk := range l.disks {
		if disk.marks.Connections() != connections {
			t.Errorf("disk %s: %d connections", disk.target, disk.marks.Connections())
		}
		out := filepath.Join(dir, "..", filepath.Base(dir)+"-copy")
		defer os.Remove(out)
		if err := copyOut(t.Context(), t, disk, out); err != nil {
			t.Fatal(err)
		}
		shell(t, "qemu-img", "compare", "-U", "-f", "raw", "-F", disk.format, out, g.Paths[i])
	}
	if err := l.check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if got := l.quiesce.String(); got != "no: the guest is paused" {
		t.Errorf("quiesced: %q", got)
	}
	if len(l.guest.left) != 1 || l.guest.left[0].target != "sdz" {
		t.Errorf("left out: %v", l.guest.left)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "paused")
}

func TestCancelledLiveReadEndsTheJob(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := beginLive(ctx, runOf(t, d, liveOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := l.disks[0].ReadAt(ctx, make([]byte, 4096), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("read after cancel: %v", err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
	if _, err := beginLive(ctx, runOf(t, d, liveOptions(dir))); !errors.Is(err, context.Canceled) {
		t.Errorf("beginning with a cancelled context: %v", err)
	}
	wantNoJob(t, g, dir)
}

func TestGuestDestroyedWhileRead(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	l, err := beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	g.Destroy()
	err = l.disks[0].ReadAt(t.Context(), make([]byte, 4096), 0)
	if err == nil {
		t.Fatal("read of a destroyed guest succeeds")
	}
	wantError(t, l.explain(err), g.Name, "stopped while it was being read")
	wantError(t, l.check(t.Context()), "stopped while it was being read")
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
}

// A guest that is destroyed and started again has no job, even if every read had succeeded before.
func TestGuestRestartedWhileRead(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	l, err := beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	g.Destroy()
	g.Start()
	wantError(t, l.check(t.Context()), "the backup job ended before everything was read")
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
}

func TestJobOfAnotherProgramIsLeftAlone(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	foreign, dir := testguest.Dir(t), testguest.Dir(t)
	if err := os.Chmod(foreign, 0o777); err != nil {
		t.Fatal(err)
	}
	xml := filepath.Join(foreign, "job.xml")
	text := fmt.Sprintf(`<domainbackup mode='pull'><server transport='unix' socket='%s/s'/><disks>
		<disk name='vda' type='file'><scratch file='%s/f'/></disk></disks></domainbackup>`, foreign, foreign)
	if err := os.WriteFile(xml, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "backup-begin", g.Name, xml)
	_, err := beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	wantError(t, err, g.Name, "another program", foreign)
	testguest.Virsh(t, "backup-dumpxml", g.Name) // still there
	wantEmpty(t, dir)
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v %v", dir, left, err)
	}
}

func TestJobOfALivingRunIsLeftAlone(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	l, err := beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	_, err = beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	wantError(t, err, g.Name, "in use by another vaultfs process")
	if err := l.check(t.Context()); err != nil {
		t.Errorf("the first run lost its job: %v", err)
	}
}
