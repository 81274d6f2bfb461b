package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/internal/testguest"
)

// TestOverlaysInTrouble shares one guest among what may befall it while its images are read.
func TestOverlaysInTrouble(t *testing.T) {
	t.Parallel()
	g := newLayered(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *layered, *overlays, *run)
	}{
		{"reset", resetUnderOverlays},
		{"destroyed", destroyedUnderOverlays},
		{"destroyed and started", startedOnOverlays},
		{"saved", savedUnderOverlays},
		{"defined anew", definedAnew},
		{"defined anew and destroyed", definedAnewAndDestroyed},
		{"snapshot by somebody", snapshotBySomebody},
		{"image cannot be written", imageCannotBeWritten},
		{"image written by somebody", imageWrittenBySomebody},
		{"image replaced", replacedBelow},
		{"image replaced and destroyed", replacedBelowAndDestroyed},
		{"overlays removed", overlaysRemoved},
		{"overlays removed and destroyed", overlaysRemovedAndDestroyed},
		{"paused", pausedOnOverlays},
		{"libvirt died in the pivot", diedInThePivot},
		{"commit interrupted while off", interruptedOffline},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.start(t)
			_, d := domainOf(t, g.Guest)
			r := runOf(t, d, overlayOptions(testguest.Dir(t)))
			o, err := beginOverlay(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			g.writeAll(t)
			c.test(t, g, o, r)
			if e := journalOf(t, r); e != nil {
				t.Errorf("left in the journal: %+v", e)
			}
			g.wantBack(t, r.options.ScratchDir)
		})
	}
}

// TestBackupsWithOverlays shares one guest among whole backups, and what becomes of them.
func TestBackupsWithOverlays(t *testing.T) {
	t.Parallel()
	g := newLayered(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *layered)
	}{
		{"next after a killed one", nextBackupAfterAKilledOne},
		{"commit left running", commitLeftRunning},
		{"commit that comes to no end", commitThatComesToNoEnd},
		{"repository fills up", repositoryFillsUp},
		{"space runs short", overlaySpaceRunsShort},
		{"QEMU dies in the commit", qemuDiesInTheCommit},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.start(t)
			c.test(t, g)
		})
	}
}

// wantReadAsBefore fails unless what is read is what the disks were before they were written to.
func wantReadAsBefore(t *testing.T, g *layered, o *overlays) {
	t.Helper()
	if err := o.check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, disk := range o.disks {
		out := filepath.Join(t.TempDir(), "copy")
		if err := copyOut(t.Context(), t, disk, out); err != nil {
			t.Fatal(err)
		}
		shell(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", out, g.before(layeredOrder[disk.target]))
	}
}

func wantTakenOff(t *testing.T, o *overlays) {
	t.Helper()
	if err := o.close(); err != nil {
		t.Error(err)
	}
}

// setRightNow is another run.
func setRightNow(t *testing.T, r *run) Recovered {
	t.Helper()
	r.journal.close()
	list, err := Recover(t.Context(), RecoverOptions{StateDir: r.options.StateDir})
	if err != nil || len(list) != 1 {
		t.Fatalf("recover: %+v, %v", list, err)
	}
	return list[0]
}

// wantSetRight fails unless another run sets all right.
func wantSetRight(t *testing.T, r *run) {
	t.Helper()
	if one := setRightNow(t, r); one.Err != nil {
		t.Error(one.Err)
	}
}

func resetUnderOverlays(t *testing.T, g *layered, o *overlays, _ *run) {
	testguest.Virsh(t, "reset", g.Name)
	wantReadAsBefore(t, g, o)
	wantTakenOff(t, o)
	wantState(t, g.Guest, "running")
}

func destroyedUnderOverlays(t *testing.T, g *layered, o *overlays, _ *run) {
	g.Destroy()
	wantReadAsBefore(t, g, o)
	wantTakenOff(t, o)
	result := new(Result)
	if o.tell(result); !strings.Contains(strings.Join(result.Notes, "; "), "the guest stopped while it was read") {
		t.Errorf("notes: %q", result.Notes)
	}
	wantState(t, g.Guest, "shut off")
}

func startedOnOverlays(t *testing.T, g *layered, o *overlays, _ *run) {
	g.Destroy()
	g.Start()
	g.live = "" // it has other numbers now
	wantReadAsBefore(t, g, o)
	wantTakenOff(t, o)
	wantState(t, g.Guest, "running")
	g.Destroy()
}

// savedUnderOverlays saves the guest's memory, which names its disks: it must be restored to the images themselves.
func savedUnderOverlays(t *testing.T, g *layered, o *overlays, _ *run) {
	testguest.Virsh(t, "managedsave", g.Name)
	wantReadAsBefore(t, g, o)
	wantTakenOff(t, o)
	if saved := testguest.Virsh(t, "managedsave-dumpxml", g.Name); strings.Contains(saved, overlaysSuffix) {
		t.Errorf("saved: %s", saved)
	}
	g.Start()
	wantState(t, g.Guest, "running")
	g.Destroy()
}

// redefine defines the guest as it was before the overlays, as somebody may with a file of his own.
func (l *layered) redefine(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "domain.xml")
	if err := os.WriteFile(file, []byte(l.defined), 0o600); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "define", file)
}

func definedAnew(t *testing.T, g *layered, o *overlays, _ *run) {
	g.redefine(t)
	wantReadAsBefore(t, g, o)
	wantTakenOff(t, o)
}

// definedAnewAndDestroyed leaves overlays with data that nothing names: they must not be removed.
func definedAnewAndDestroyed(t *testing.T, g *layered, o *overlays, r *run) {
	g.redefine(t)
	g.Destroy()
	wantError(t, o.check(t.Context()), g.Name, "disk vda", "does not name the overlay", "somebody has changed it")
	wantError(t, o.close(), "disk vda", "disk sda", "disk vdb", "there is data in it", "do not remove it")
	if one := setRightNow(t, r); one.Err == nil {
		t.Error("overlays with data are given up")
	}
	for _, one := range o.made {
		shell(t, "qemu-img", "commit", "-q", "-d", one.File) // as we say
		if err := os.Remove(one.File); err != nil {
			t.Fatal(err)
		}
	}
	wantSetRight(t, r)
}

func snapshotBySomebody(t *testing.T, g *layered, o *overlays, r *run) {
	theirs := filepath.Join(g.Dir, "theirs.qcow2")
	testguest.Virsh(t, "snapshot-create-as", g.Name, "--disk-only", "--no-metadata", "--diskspec", "vda,file="+theirs,
		"--diskspec", "vdb,snapshot=no", "--diskspec", "sda,snapshot=no")
	wantError(t, o.check(t.Context()), g.Name, "disk vda", theirs)
	wantError(t, o.close(), "disk vda", theirs, "remove that snapshot first", "nothing is lost")
	if e := journalOf(t, r); e == nil || len(e.Overlays) != 1 || e.Overlays[0].Target != "vda" {
		t.Errorf("journal: %+v", e)
	}
	testguest.Virsh(t, "blockcommit", g.Name, "vda", "--active", "--shallow", "--pivot", "--wait")
	wantSetRight(t, r)
	wantState(t, g.Guest, "running")
}

// imageCannotBeWritten makes the commit fail: the guest goes on, and the commit is made when it can be.
func imageCannotBeWritten(t *testing.T, g *layered, o *overlays, r *run) {
	shell(t, "chattr", "+i", g.Paths[1])
	defer shell(t, "chattr", "-i", g.Paths[1])
	wantReadAsBefore(t, g, o)
	wantError(t, o.close(), g.Name, "disk sda", "was not committed back", "goes on with the overlay", o.dir.file("sda"), g.Paths[1], "vaultfs recover")
	wantState(t, g.Guest, "running")
	g.write(t, "sda", g.writes()[0])
	if e := journalOf(t, r); e == nil || len(e.Overlays) != 1 || !exists(o.dir.file("sda")) {
		t.Errorf("journal: %+v", e)
	}
	shell(t, "chattr", "-i", g.Paths[1])
	wantSetRight(t, r)
	wantState(t, g.Guest, "running")
}

// imageWrittenBySomebody is not what the overlay was put over: it is not committed before somebody says so.
func imageWrittenBySomebody(t *testing.T, g *layered, o *overlays, r *run) {
	now, err := os.Stat(g.Paths[1])
	if err != nil {
		t.Fatal(err)
	}
	later := now.ModTime().Add(1)
	if err := os.Chtimes(g.Paths[1], later, later); err != nil {
		t.Fatal(err)
	}
	wantError(t, o.check(t.Context()), g.Name, g.Paths[1], "written to while it was being read")
	wantError(t, o.explain(errors.New("EIO")), "written to", "EIO")
	wantError(t, o.close(), "disk sda", "last written to at "+later.UTC().Format(time.RFC3339Nano), now.ModTime().UTC().Format(time.RFC3339Nano))
	if err := os.Chtimes(g.Paths[1], now.ModTime(), now.ModTime()); err != nil {
		t.Fatal(err)
	}
	wantSetRight(t, r)
}

// overlaysRemoved takes the files from under a guest that runs. QEMU has them open, and all that is in them is saved.
func overlaysRemoved(t *testing.T, g *layered, o *overlays, _ *run) {
	if err := os.RemoveAll(o.dir.dir); err != nil {
		t.Fatal(err)
	}
	wantReadAsBefore(t, g, o)
	wantTakenOff(t, o)
	wantState(t, g.Guest, "running")
}

// overlaysRemovedAndDestroyed loses what the guest wrote: that is said, and nothing is made up.
func overlaysRemovedAndDestroyed(t *testing.T, g *layered, o *overlays, r *run) {
	if err := os.RemoveAll(o.dir.dir); err != nil {
		t.Fatal(err)
	}
	g.Destroy()
	wantError(t, o.close(), "disk vda", o.dir.file("vda")+" is gone", "what the VM wrote", "virsh edit", g.Paths[0])
	g.redefine(t) // as we say
	wantSetRight(t, r)
	g.start(t)
	g.writeAll(t) // not as it was: without what is lost
}

// pausedOnOverlays leaves a guest paused that somebody has paused.
func pausedOnOverlays(t *testing.T, g *layered, o *overlays, _ *run) {
	testguest.Virsh(t, "suspend", g.Name)
	wantReadAsBefore(t, g, o)
	wantTakenOff(t, o)
	wantState(t, g.Guest, "paused")
	testguest.Virsh(t, "resume", g.Name)
}

// diedInThePivot is a definition that still names an overlay, though the guest goes on with the image itself. That is
// right if the overlay was committed; else somebody has to say.
func diedInThePivot(t *testing.T, g *layered, o *overlays, r *run) {
	before := g.defined
	g.defined = testguest.Virsh(t, "dumpxml", "--inactive", g.Name)
	if err := o.stopReading(); err != nil {
		t.Fatal(err)
	}
	m := newMerger(o.link, r.journal)
	for _, one := range o.made {
		if err := commitUntil(m, one, "pivoted"); err != nil {
			t.Fatal(err)
		}
	}
	g.redefine(t)
	g.defined = before
	vda := o.made[0]
	unmark(vda)
	if one := setRightNow(t, r); one.Err == nil || !strings.Contains(one.Err.Error(), "disk vda") || strings.Contains(one.Err.Error(), "disk sda") || !exists(vda.File) {
		t.Errorf("recover: %+v", one)
	}
	if err := mark(vda); err != nil {
		t.Fatal(err)
	}
	wantSetRight(t, r)
}

// interruptedOffline dies at every point of the commit of a guest that is off, another disk at each.
func interruptedOffline(t *testing.T, g *layered, o *overlays, r *run) {
	g.Destroy()
	if err := o.stopReading(); err != nil {
		t.Fatal(err)
	}
	for i, one := range o.made {
		all, err := readDefinitions(o.link)
		if err != nil {
			t.Fatal(err)
		}
		home, err := withoutOverlay(all.find(one).inactive, one)
		m := newMerger(o.link, r.journal)
		if err == nil {
			err = m.begin(one, false)
		}
		if err == nil {
			err = commitFile(t.Context(), one, home)
		}
		if err == nil && i > 0 {
			err = mark(one)
		}
		if err == nil && i > 1 {
			err = m.redefine(one)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	wantSetRight(t, r)
}

// TestVolumeUnderAnOverlay is a disk that its definition names as a volume of a storage pool, and must name so again.
func TestVolumeUnderAnOverlay(t *testing.T) {
	t.Parallel()
	dir := testguest.Dir(t)
	pool := filepath.Base(dir)
	testguest.Daemon(t)
	testguest.Virsh(t, "pool-create-as", pool, "dir", "--target", dir)
	t.Cleanup(func() { testguest.Virsh(t, "pool-destroy", pool) })
	image := filepath.Join(dir, "v.qcow2")
	testguest.Virsh(t, "vol-create-as", pool, "v.qcow2", "64M", "--format", "qcow2")
	fill(t, image)
	g := idle(t, testguest.Spec{NoAgent: true, Extra: fmt.Sprintf(`<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>
		<source pool='%s' volume='v.qcow2'/><target dev='vdb' bus='virtio'/></disk>`, pool)})
	_, d := domainOf(t, g)
	want := testguest.Virsh(t, "dumpxml", "--inactive", g.Name)
	for _, stop := range []bool{false, true} {
		r := runOf(t, d, overlayOptions(testguest.Dir(t)))
		o, err := beginOverlay(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if o.made[1].Base != image {
			t.Errorf("overlays: %+v", o.made)
		}
		l := &layered{Guest: g}
		l.write(t, "vdb", "write -P 9 40M 1M")
		if stop {
			g.Destroy()
		}
		wantTakenOff(t, o)
		if got := testguest.Virsh(t, "dumpxml", "--inactive", g.Name); got != want {
			t.Errorf("its definition has changed:\n%s", difference(t, want, got))
		}
		wantEmpty(t, r.options.ScratchDir)
	}
	shell(t, "qemu-io", "-f", "qcow2", "-c", "read -P 9 40M 1M", image)
}

// repositoryFillsUp takes the overlays off all the same.
func repositoryFillsUp(t *testing.T, g *layered) {
	dir, state := small(t, "80m"), testguest.Dir(t)
	if err := os.Mkdir(filepath.Join(dir, "repo"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := overlayOptions("")
	o.StateDir = state
	o.at = func(step string) {
		if step == "reading" {
			g.writeAll(t)
			fillUp(t, dir, 0)
		}
	}
	_, err := Ingest(t.Context(), repoIn(t, filepath.Join(dir, "repo")), g.Name, *o)
	wantError(t, err, g.Name, "free in the repository")
	if left, err := leftEntries(state); err != nil || len(left) > 0 {
		t.Errorf("left in the journal: %v %v", left, err)
	}
	wantState(t, g.Guest, "running")
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	g.wantBack(t, filepath.Join(state, "scratch"))
}

// overlaySpaceRunsShort stops the reading before the guest is held up.
func overlaySpaceRunsShort(t *testing.T, g *layered) {
	_, d := domainOf(t, g.Guest)
	dir := testguest.Dir(t)
	options := overlayOptions(dir)
	var keep atomic.Int64
	options.keepFree = func(size int64) int64 { return keep.Load() * size }
	r := runOf(t, d, options)
	keep.Store(1)
	_, err := beginOverlay(t.Context(), r)
	wantError(t, err, g.Name, "MiB are free in "+dir, "--scratch-dir")
	wantEmpty(t, dir)

	keep.Store(0)
	o, err := beginOverlay(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	g.writeAll(t)
	if err := o.check(t.Context()); err != nil {
		t.Error(err)
	}
	keep.Store(1)
	wantError(t, o.check(t.Context()), g.Name, "stopped before it would hold up the guest", "--scratch-dir")
	wantTakenOff(t, o)
	g.wantBack(t, dir)
}

// TestRoomForTheCommit counts what the images may grow by.
func TestRoomForTheCommit(t *testing.T) {
	small := testguest.Dir(t)
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=4m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	s, err := lockScratch(testguest.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.lock.Close()
	s.keepFree = nothing
	base := filepath.Join(small, "base.raw")
	shell(t, "truncate", "-s", "64M", base)
	o := &overlays{dir: &overlayDir{s}, made: []overlay{{Target: "vda", File: filepath.Join(s.dir, "vda.qcow2"), Base: base}}, sizes: map[string]int64{"vda": 64 << 20}}
	shell(t, "fallocate", "-l", "3M", o.made[0].File)
	if err := o.room(); err != nil {
		t.Error(err)
	}
	shell(t, "fallocate", "-l", "5M", o.made[0].File)
	wantError(t, o.room(), "only 4 MiB are free where "+base, "5 MiB must be")
	o.sizes["vda"] = 2 << 20 // it cannot grow by more than that
	if err := o.room(); err != nil {
		t.Error(err)
	}
}

// TestOverlaysAreRefused before anything is changed.
func TestOverlaysAreRefused(t *testing.T) {
	t.Parallel()
	shared := filepath.Join(testguest.Dir(t), "shared.raw")
	shell(t, "truncate", "-s", "1M", shared)
	disk := fmt.Sprintf(`<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='%s'/><target dev='vdb' bus='virtio'/>%%s</disk>`, shared)
	g := idle(t, testguest.Spec{NoAgent: true, Extra: fmt.Sprintf(disk, "<shareable/>")})
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	before := testguest.Virsh(t, "dumpxml", g.Name)
	refused := func(dir string, words ...string) {
		t.Helper()
		r := runOf(t, d, overlayOptions(dir))
		_, err := beginOverlay(t.Context(), r)
		wantError(t, err, append(words, g.Name)...)
		if e := journalOf(t, r); e != nil {
			t.Errorf("left in the journal: %+v", e)
		}
	}
	refused(dir, "disk vdb is shared", "--method backup")
	testguest.Virsh(t, "detach-disk", g.Name, "vdb", "--config")
	g.Destroy()
	g.Start()

	copied := filepath.Join(g.Dir, "copied.qcow2")
	testguest.Virsh(t, "blockcopy", g.Name, "vda", copied, "--transient-job")
	refused(dir, "disk vda is busy", "block job (copy)")
	testguest.Virsh(t, "blockjob", g.Name, "vda", "--abort")

	full := testguest.Dir(t)
	r := runOf(t, d, overlayOptions(full))
	stray := filepath.Join(full, dirPrefix+r.uuid+overlaysSuffix, "vda.qcow2")
	if err := os.Mkdir(filepath.Dir(stray), 0o700); err != nil {
		t.Fatal(err)
	}
	shell(t, "truncate", "-s", "1M", stray)
	refused(full, stray[:len(stray)-len("/vda.qcow2")], "vda.qcow2", "no journal")
	if !exists(stray) {
		t.Error("a file of somebody's is removed")
	}

	memory := testguest.Dir(t)
	if err := unix.Mount("tmpfs", memory, "tmpfs", 0, "size=4m,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(memory, unix.MNT_DETACH) })
	refused(memory, memory, "is in memory", "--scratch-dir")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := beginOverlay(ctx, runOf(t, d, overlayOptions(dir))); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	testguest.Virsh(t, "undefine", g.Name, "--checkpoints-metadata")
	refused(dir, "transient", "--method backup")
	wantEmpty(t, dir)
	if now := testguest.Virsh(t, "dumpxml", g.Name); strings.Contains(now, overlaysSuffix) || !strings.Contains(before, g.Paths[0]) {
		t.Errorf("an overlay was put on: %s", now)
	}
}

func TestDisksThatCannotHaveOverlays(t *testing.T) {
	const target = `<target dev='vda' bus='virtio'/></disk>`
	for name, c := range map[string]struct {
		xml   string
		words []string
	}{
		"network":   {`<disk type='network' device='disk'><driver type='raw'/><source protocol='rbd' name='pool/image'><host name='mon' port='6789'/></source>`, []string{"network", "rbd:pool/image", "--method backup"}},
		"encrypted": {`<disk type='file' device='disk'><driver type='qcow2'/><source file='/v/a'><encryption format='luks'/></source>`, []string{"it is encrypted", "--method backup"}},
		"overlay":   {`<disk type='file' device='disk'><driver type='qcow2'/><source file='/s/vaultfs-u.overlays/vda.qcow2'/>`, []string{"/s/vaultfs-u.overlays/vda.qcow2", "--shallow"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := guestOf(t, c.xml+target).disks[0]
			wantError(t, d.overlayable(), append(c.words, "vda")...)
		})
	}
}
