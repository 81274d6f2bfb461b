package vm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testguest"
	"vaultfs/repo"
)

// The guest of TestIncrementals has a file system on each of three disks, on which a writer rewrites files at random
// places all the time. A second program takes the checksum of all the files, over and over, and keeps the list in memory:
// while the guest is frozen the writer stands still and the reader does not, so what a backup holds must be in the list.
const (
	prepareIncrements = `
		for d in vdb sda; do mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -O ^metadata_csum /dev/$d; mkdir -p /mnt/$d; mount -o noatime /dev/$d /mnt/$d; done
		mkdir -p /mnt/root; mount -o remount,noatime /
		for d in vdb sda root; do mkdir -p /mnt/$d/f; for i in 1 2 3 4 5 6; do head -c 200000 /dev/urandom >/mnt/$d/f/$i; done; done; sync
		cat >/run/writer <<'W'
		n=0; while :; do for d in vdb sda root; do
		n=$((n+1)); head -c 4096 /dev/urandom | dd of=/mnt/$d/f/$((n%6+1)) bs=4096 seek=$((n%40)) conv=notrunc,fsync status=none
		done; sleep 0.1; done
W
		cat >/run/reader <<'R'
		while :; do for d in vdb sda root; do echo $d $(cat /mnt/$d/f/* | sha256sum | cut -c1-64); done >>/run/sums; done
R
		setsid sh -c "echo \$\$ >>/run/pids; exec sh /run/writer" >/dev/null 2>&1 &
		setsid sh -c "echo \$\$ >>/run/pids; exec sh /run/reader" >/dev/null 2>&1 &`
	bigDisk = "100G"
)

func TestIncrementals(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Base: true, Format: "qcow2", Bus: "virtio"},
		{Format: "raw", Bus: "virtio", Size: "128M"},
		{Format: "qcow2", Bus: "scsi", Size: bigDisk},
	}})
	g.Start()
	g.WaitAgent()
	g.Run(prepareIncrements)
	r := newRepo(t)
	o := Options{Connect: uri, ScratchDir: testguest.Dir(t), StateDir: testguest.Dir(t), Verify: true}
	o.at = func(step string) {
		if step == "begun" {
			time.Sleep(1500 * time.Millisecond) // while frozen: time for the reader to come round at least once
		}
	}
	var all []*Result
	for i := range 6 {
		result := backUp(t, r, g, o)
		all = append(all, result)
		wantHow(t, result, "vdb", "full: ")
		if i == 0 {
			wantHow(t, result, "vda", "full: the first backup")
			wantHow(t, result, "sda", "full: the first backup")
		} else {
			from := "incremental from " + all[i-1].Snapshot.Short()
			wantHow(t, result, "vda", from)
			wantHow(t, result, "sda", from)
		}
		wantOnlyCheckpoint(t, g, result.Checkpoint)
		if i == 3 { // much at once, in one file, on the large disk
			g.Run(`head -c 20000000 /dev/urandom >/mnt/sda/big; sync`)
		}
		g.Run(`sleep 1`)
	}
	t.Run("what is in them", func(t *testing.T) {
		sums := g.Run(`cat /run/sums`)
		for i, result := range all {
			for disk, name := range map[string]string{"vda": "root", "vdb": "vdb", "sda": "sda"} {
				if sum := name + " " + sumOfFiles(t, r, result.Snapshot, disk); !strings.Contains(sums, sum) {
					t.Errorf("backup %d: the guest never had the files that disk %s holds (%s)", i, disk, sum)
				}
			}
		}
	})
	t.Run("20 MB in one file", func(t *testing.T) { wantRead(t, all[4], "sda", 20e6, 2) })
	t.Run("scattered writes", func(t *testing.T) {
		g.Run(`kill $(cat /run/pids); head -c 100000000 /dev/urandom >/mnt/sda/spread; sync`)
		backUp(t, r, g, o)
		g.Run(`i=0; while [ $i -lt 200 ]; do i=$((i+1)); head -c 4096 /dev/urandom | dd of=/mnt/sda/spread bs=4096 seek=$((i*7919%24000)) conv=notrunc status=none; done; sync`)
		wantRead(t, backUp(t, r, g, o), "sda", 200*4096, 3.5)
	})
	t.Run("a bitmap that lies", func(t *testing.T) { lyingBitmap(t, r, g, o) })
	t.Run("shut off", func(t *testing.T) { incrementWhenOff(t, r, g, o) })
	if report, err := r.Verify(context.Background(), repo.VerifyOptions{ReadData: true}); err != nil || len(report.Findings) > 0 {
		t.Errorf("verify: %+v %v", report, err)
	}
}

func backUp(t *testing.T, r *repo.Repo, g *testguest.Guest, o Options) *Result {
	t.Helper()
	result, err := Ingest(t.Context(), r, g.Name, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Warnings) > 0 {
		t.Errorf("warnings: %q", result.Warnings)
	}
	return result
}

func diskOfResult(t *testing.T, result *Result, target string) Disk {
	t.Helper()
	i := slices.IndexFunc(result.Disks, func(d Disk) bool { return d.Target == target })
	if i < 0 {
		t.Fatalf("there is no disk %s: %+v", target, result.Disks)
	}
	return result.Disks[i]
}

func wantHow(t *testing.T, result *Result, target, begins string) {
	t.Helper()
	if d := diskOfResult(t, result, target); !strings.HasPrefix(d.How, begins) {
		t.Errorf("disk %s was read %q, want %q", target, d.How, begins)
	}
}

// wantOnlyCheckpoint fails unless the guest has this checkpoint and no other of ours.
func wantOnlyCheckpoint(t *testing.T, g *testguest.Guest, name string) {
	t.Helper()
	if got := testguest.Virsh(t, "checkpoint-list", g.Name, "--name"); strings.TrimSpace(got) != name || name == "" {
		t.Errorf("checkpoints %q, want %q", got, name)
	}
}

// wantRead bounds what an increment has read by what its bitmap called dirty.
func wantRead(t *testing.T, result *Result, target string, written int64, factor float64) {
	t.Helper()
	d, sum := diskOfResult(t, result, target), result.Snapshot.Info.Summary
	t.Logf("written %d, dirty %d, read %d; all disks: dirty %d, read %d", written, d.Dirty, d.Read, sum.BytesDirty, sum.BytesRead)
	if d.Dirty < written/2 {
		t.Errorf("the bitmap calls %d bytes dirty, and %d were written", d.Dirty, written)
	}
	if most := int64(factor*float64(d.Dirty)) + 8<<20; d.Read > most {
		t.Errorf("read %d bytes of %d dirty, at most %d", d.Read, d.Dirty, most)
	}
}

// sumOfFiles mounts the file system of a restored disk and sums up the files as the guest does.
func sumOfFiles(t *testing.T, r *repo.Repo, s *repo.Snapshot, disk string) string {
	t.Helper()
	raw := restore(t, r, s, disk)
	defer os.Remove(raw)
	dir, options, files := t.TempDir(), "loop", "f"
	if disk == "vda" {
		options, files = fmt.Sprintf("loop,offset=%d", partition), "mnt/root/f"
	}
	shell(t, "mount", "-o", options, raw, dir) // the journal is replayed: into the restored copy
	defer shell(t, "umount", dir)
	h := sha256.New()
	for i := range 6 {
		b, err := os.ReadFile(filepath.Join(dir, files, fmt.Sprint(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// lyingBitmap has QEMU forget what was written: the audit must see it, say it loudly, and read everything.
func lyingBitmap(t *testing.T, r *repo.Repo, g *testguest.Guest, o Options) {
	before := backUp(t, r, g, o)
	g.Run(`head -c 30000000 /dev/urandom >/mnt/sda/spread; sync`)
	node := testguest.Virsh(t, "qemu-monitor-command", g.Name, `{"execute":"query-named-block-nodes","arguments":{"flat":true}}`)
	for _, part := range strings.Split(node, `"node-name":"`)[1:] {
		name, rest, _ := strings.Cut(part, `"`)
		if strings.HasSuffix(name, "-format") && strings.Contains(rest, before.Checkpoint) {
			testguest.Virsh(t, "qemu-monitor-command", g.Name, fmt.Sprintf(`{"execute":"block-dirty-bitmap-clear","arguments":{"node":%q,"name":%q}}`, name, before.Checkpoint))
		}
	}
	o.Audit = 100
	result, err := Ingest(t.Context(), r, g.Name, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "BITMAP OF DISK") {
		t.Errorf("warnings: %q", result.Warnings)
	}
	for _, d := range result.Disks {
		if !strings.HasPrefix(d.How, "full: ") {
			t.Errorf("disk %s was read %q", d.Target, d.How)
		}
	}
	wantSpread(t, r, g, result.Snapshot)
}

// wantSpread compares a file of the large disk with the guest's own checksum of it.
func wantSpread(t *testing.T, r *repo.Repo, g *testguest.Guest, s *repo.Snapshot) {
	t.Helper()
	want, _, _ := strings.Cut(g.Run(`sha256sum /mnt/sda/spread`), " ")
	raw := restore(t, r, s, "sda")
	defer os.Remove(raw)
	dir := t.TempDir()
	shell(t, "mount", "-o", "loop", raw, dir)
	defer shell(t, "umount", dir)
	if got, _, _ := strings.Cut(shell(t, "sha256sum", filepath.Join(dir, "spread")), " "); got != want {
		t.Errorf("the file's checksum is %s in the backup, and %s in the guest", got, want)
	}
}

// incrementWhenOff backs the guest up after it was shut off: from the bitmaps in its images, which stay as they are.
func incrementWhenOff(t *testing.T, r *repo.Repo, g *testguest.Guest, o Options) {
	before := backUp(t, r, g, o)
	g.Run(`head -c 3000000 /dev/urandom >/mnt/sda/spread; sync; umount /mnt/sda /mnt/vdb
		setsid sh -c 'sleep 1; systemctl poweroff --force' >/dev/null 2>&1 &`) // the image has no D-Bus, which the agent's shutdown needs
	waitFor(t, "the guest to shut down", func() bool { return g.State() == "shut off" })
	result := backUp(t, r, g, o)
	if result.Mode != ModeOffline {
		t.Errorf("mode %s", result.Mode)
	}
	for _, target := range []string{"vda", "sda"} {
		wantHow(t, result, target, "incremental from "+before.Snapshot.Short())
	}
	for i, target := range []string{"vda", "vdb", "sda"} {
		raw := restore(t, r, result.Snapshot, target)
		wantSame(t, raw, g.Paths[i], strings.TrimPrefix(filepath.Ext(g.Paths[i]), "."))
		os.Remove(raw)
	}
	if result.Checkpoint != before.Checkpoint {
		t.Errorf("kept the checkpoint %q, had %q", result.Checkpoint, before.Checkpoint)
	}
	// It starts again, and its bitmaps go on.
	g.Start()
	g.WaitAgent()
	again := backUp(t, r, g, o)
	wantHow(t, again, "sda", "incremental from "+before.Snapshot.Short())
	wantOnlyCheckpoint(t, g, again.Checkpoint)
}

// A disk that was made smaller and large again has lost its end, and QEMU's bitmap says nothing of that.
func TestDiskShrunkAndGrown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r, o := newRepo(t), Options{Connect: uri, ScratchDir: testguest.Dir(t), StateDir: testguest.Dir(t), NoAudit: true}
	backUp(t, r, g, o)
	g.Destroy()
	shell(t, "qemu-img", "resize", "-q", "--shrink", g.Paths[0], "21M")
	shell(t, "qemu-img", "resize", "-q", g.Paths[0], "64M")
	result, err := Ingest(t.Context(), r, g.Name, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "BITMAP OF DISK vda IS WRONG") {
		t.Errorf("warnings: %q", result.Warnings)
	}
	wantHow(t, result, "vda", "full: ")
	wantSame(t, restore(t, r, result.Snapshot, "vda"), g.Paths[0], "qcow2")
	// Until the guest runs again its images keep that bitmap.
	g.Start()
	if result, err = Ingest(t.Context(), r, g.Name, o); err != nil {
		t.Fatal(err)
	}
	again := backUp(t, r, g, o)
	wantHow(t, again, "vda", "incremental from "+result.Snapshot.Short())
}

// Two images that differ little change places: neither size nor checkpoint tells.
func TestImagesSwapped(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true, Disks: []testguest.Disk{
		{Format: "qcow2", Bus: "virtio", Size: "64M"}, {Format: "qcow2", Bus: "virtio", Size: "64M"},
	}})
	r, o := newRepo(t), Options{Connect: uri, ScratchDir: testguest.Dir(t), StateDir: testguest.Dir(t), NoAudit: true}
	backUp(t, r, g, o)
	g.Destroy()
	for _, move := range [][2]string{{g.Paths[0], g.Paths[0] + ".x"}, {g.Paths[1], g.Paths[0]}, {g.Paths[0] + ".x", g.Paths[1]}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, running := range []bool{false, true} {
		if running {
			g.Start()
		}
		result := backUp(t, r, g, o)
		wantHow(t, result, "vda", "full: its image is another file")
		wantHow(t, result, "vdb", "full: its image is another file")
	}
}

// A libvirt snapshot of a guest that is off does not end its increments, though libvirt takes none beside a checkpoint.
func TestSnapshotBesideACheckpoint(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r, o := newRepo(t), Options{Connect: uri, ScratchDir: testguest.Dir(t), StateDir: testguest.Dir(t)}
	first := backUp(t, r, g, o)
	g.Destroy()
	taken, err := TakeSnapshot(t.Context(), g.Name, SnapshotOptions{Connect: uri, StateDir: o.StateDir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DeleteSnapshot(t.Context(), g.Name, taken.Name, DeleteOptions{Connect: uri, StateDir: o.StateDir}); err != nil {
		t.Fatal(err)
	}
	g.Start()
	again := backUp(t, r, g, o)
	wantHow(t, again, "vda", "incremental from "+first.Snapshot.Short())
	wantOnlyCheckpoint(t, g, again.Checkpoint)
}
