package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// fileSum is the SHA-256 of a file, which a guest may be running on.
func fileSum(t *testing.T, path string) string {
	t.Helper()
	return strings.Fields(shell(t, "sha256sum", path))[0]
}

func take(t *testing.T, g *testguest.Guest, o SnapshotOptions) *SnapshotResult {
	t.Helper()
	o.Connect, o.Program = uri, "vaultfs test"
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	r, err := TakeSnapshot(t.Context(), g.Name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	return r
}

func deleteSnapshot(t *testing.T, g *testguest.Guest, name string) (*DeleteResult, error) {
	t.Helper()
	return DeleteSnapshot(t.Context(), g.Name, name, DeleteOptions{Connect: uri, StateDir: t.TempDir()})
}

func mustDelete(t *testing.T, g *testguest.Guest, name string) {
	t.Helper()
	r, err := deleteSnapshot(t, g, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("done: %q", r.Done)
}

func listOf(t *testing.T, g *testguest.Guest) []VMSnapshot {
	t.Helper()
	list, err := ListSnapshots(t.Context(), uri, []string{g.Name})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wantOwnImages fails unless every disk is on the image that it began with, and no other image is left beside these.
func wantOwnImages(t *testing.T, g *testguest.Guest) {
	t.Helper()
	for _, flag := range []string{"--details", "--inactive"} {
		list := testguest.Virsh(t, "domblklist", g.Name, flag)
		for _, path := range g.Paths {
			if !strings.Contains(list, path+"\n") && !strings.HasSuffix(list, path) {
				t.Errorf("%s is not a disk of the guest (%s):\n%s", path, flag, list)
			}
		}
	}
	for _, s := range listOf(t, g) {
		t.Errorf("snapshot left: %+v", s)
	}
	left, err := filepath.Glob(filepath.Join(g.Dir, "*.vaultfs-*.qcow2*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// writeInGuest writes files on both disks and gives their sums.
func writeInGuest(g *testguest.Guest, name string) string {
	return g.Run(fmt.Sprintf("head -c 5000000 /dev/urandom >/root/%[1]s; head -c 5000000 /dev/urandom >/data/%[1]s; sync; sha256sum /root/%[1]s /data/%[1]s", name))
}

func wantInGuest(t *testing.T, g *testguest.Guest, sums string) {
	t.Helper()
	if got := g.Run("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum /root/* /data/file-* || true"); !containsLines(got, sums) {
		t.Errorf("the guest has\n%s\nwant\n%s", got, sums)
	}
	if errs := g.Run("dmesg | grep -c 'I/O error' || true"); errs != "0" {
		t.Errorf("the guest saw %s I/O errors", errs)
	}
}

func containsLines(text, lines string) bool {
	for line := range strings.Lines(lines) {
		if !strings.Contains(text, strings.TrimSpace(line)) {
			return false
		}
	}
	return true
}

func snapshotTakenAndDeleted(t *testing.T, g *testguest.Guest) {
	before := writeInGuest(g, "file-before")
	r := take(t, g, SnapshotOptions{Name: "upgrade"})
	if r.Name != "vaultfs-upgrade" || r.Kind != KindExternal || !strings.HasPrefix(r.Quiesced, "yes: frozen for") || r.Frozen <= 0 || len(r.Warnings) > 0 {
		t.Errorf("snapshot: %+v", r)
	}
	if g.Frozen() {
		t.Error("guest is still frozen")
	}
	if !hasText(r.Notes, "not a backup") {
		t.Errorf("notes: %q", r.Notes)
	}
	want := filepath.Join(g.Dir, "vda.vda.vaultfs-upgrade.qcow2")
	if len(r.Disks) != 2 || r.Disks[0].File != want || !exists(want) || r.Disks[1].Image != g.Paths[1] {
		t.Errorf("disks: %+v", r.Disks)
	}
	raw := fileSum(t, g.Paths[1])
	after := writeInGuest(g, "file-after")
	if fileSum(t, g.Paths[1]) != raw {
		t.Error("the image below the overlay was written to")
	}
	list := listOf(t, g)
	if len(list) != 1 || list[0].Name != r.Name || list[0].State != "running" || !list[0].Current || list[0].Created.IsZero() || len(list[0].Disks) != 2 || list[0].Disks[0] != r.Disks[0] {
		t.Errorf("list: %+v", list)
	}
	_, err := TakeSnapshot(t.Context(), g.Name, SnapshotOptions{Connect: uri, Name: "upgrade", StateDir: t.TempDir()})
	wantError(t, err, g.Name, "vaultfs-upgrade already")
	mustDelete(t, g, r.Name)
	wantOwnImages(t, g)
	wantState(t, g, "running")
	wantInGuest(t, g, before+"\n"+after)
	_, err = deleteSnapshot(t, g, r.Name)
	wantError(t, err, g.Name, "no snapshot "+r.Name, "none that was made by vaultfs")
}

func othersLieOnSnapshot(t *testing.T, g *testguest.Guest) {
	r := take(t, g, SnapshotOptions{})
	if !strings.HasPrefix(r.Name, "vaultfs-20") {
		t.Errorf("name: %s", r.Name)
	}
	testguest.Virsh(t, "snapshot-create-as", g.Name, "theirs", "--disk-only", "--atomic", "--diskspec", "sdz,snapshot=no")
	_, err := deleteSnapshot(t, g, r.Name)
	wantError(t, err, g.Name, "later snapshots lie on it (theirs)")
	_, err = deleteSnapshot(t, g, "theirs")
	wantError(t, err, g.Name, "was not made by vaultfs", "virsh snapshot-delete")
	_, err = deleteSnapshot(t, g, "nothing")
	wantError(t, err, "no snapshot nothing", "those made by vaultfs are: "+r.Name)
	// Without libvirt's name of theirs, its overlays are still there.
	testguest.Virsh(t, "snapshot-delete", g.Name, "theirs", "--metadata")
	_, err = deleteSnapshot(t, g, r.Name)
	wantError(t, err, g.Name, "somebody has put", "theirs")
	for _, target := range []string{"vda", "sda"} {
		testguest.Virsh(t, "blockcommit", g.Name, target, "--active", "--shallow", "--pivot", "--wait")
	}
	mustDelete(t, g, r.Name)
	wantOwnImages(t, g)
}

// killedWhileMerging kills a process that has begun to commit an overlay.
func killedWhileMerging(t *testing.T, g *testguest.Guest) {
	take(t, g, SnapshotOptions{Name: "killed"})
	sums := writeInGuest(g, "file-merged")
	state := t.TempDir()
	startChild(t, "merge", g, state)()
	done := recovered(t, state)
	if strings.Count(done, "committed the overlay of disk") != 2 {
		t.Errorf("done: %s", done)
	}
	wantOwnImages(t, g)
	wantNothingLeft(t, state)
	wantInGuest(t, g, sums)
}

// mergeChild begins to delete the snapshot "killed", and hangs while its first overlay is committed.
func mergeChild(r *run, hang func() error) error {
	r.journal.close()
	at, err := openGuest(context.Background(), uri, r.options.StateDir, r.name)
	if err != nil {
		return err
	}
	s, one, err := findSnapshot(at, "vaultfs-killed")
	if err != nil {
		return err
	}
	if err := mayCommit(at, s, one.overlays()); err != nil {
		return err
	}
	if err := announceMerge(at, s, &DeleteResult{VMSnapshot: one}); err != nil {
		return err
	}
	if err := newMerger(at.link, at.journal).beginCommit(one.Disks[0].Target); err != nil {
		return err
	}
	return hang()
}

func TestInternalSnapshotOfAGuestThatIsOff(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Format: "qcow2", Bus: "virtio", Size: "64M"}, {Format: "qcow2", Bus: "scsi", Size: "64M"}}})
	fill(t, g.Paths[0])
	r := take(t, g, SnapshotOptions{Name: "vaultfs-off"})
	if r.Name != "vaultfs-off" || r.Kind != KindInternal || r.Quiesced != "yes: shut off" || !hasText(r.Notes, "leave no checkpoint") {
		t.Errorf("snapshot: %+v", r)
	}
	for _, path := range g.Paths {
		if list := shell(t, "qemu-img", "snapshot", "-l", path); !strings.Contains(list, "vaultfs-off") {
			t.Errorf("%s: %s", path, list)
		}
	}
	if list := listOf(t, g); len(list) != 1 || list[0].Kind != KindInternal || list[0].State != "shut off" || len(list[0].Disks) != 2 {
		t.Errorf("list: %+v", list)
	}
	g.Start() // it can be deleted while it runs as well
	mustDelete(t, g, "vaultfs-off")
	wantState(t, g, "running")
	g.Destroy()
	for _, path := range g.Paths {
		if list := shell(t, "qemu-img", "snapshot", "-l", path); strings.Contains(list, "vaultfs-off") {
			t.Errorf("%s: %s", path, list)
		}
	}
	wantOwnImages(t, g)
}

// A guest with a raw disk has its snapshot outside, which is merged with and without the guest running.
func TestExternalSnapshotOfAGuestThatIsOff(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Format: "qcow2", Bus: "virtio", Size: "64M"}, {Format: "raw", Bus: "scsi", Size: "40M"}}})
	for _, path := range g.Paths {
		fill(t, path)
	}
	defined := func() string {
		return strings.ReplaceAll(testguest.Virsh(t, "dumpxml", "--inactive", g.Name), "      <backingStore/>\n", "")
	}
	before := defined()
	r := take(t, g, SnapshotOptions{Name: "off"})
	if r.Kind != KindExternal || len(r.Disks) != 2 {
		t.Errorf("snapshot: %+v", r)
	}
	for _, d := range r.Disks { // as the guest would
		shell(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x77 2M 1M", d.File)
	}
	below := fileSum(t, g.Paths[1])
	mustDelete(t, g, r.Name)
	wantState(t, g, "shut off")
	wantOwnImages(t, g)
	if fileSum(t, g.Paths[1]) == below {
		t.Error("nothing was merged")
	}
	if after := defined(); after != before {
		t.Errorf("the definition is\n%s\nwas\n%s", after, before)
	}
	for i, format := range []string{"qcow2", "raw"} {
		shell(t, "qemu-io", "-r", "-f", format, "-c", "read -P 0x77 2M 1M", "-c", "read -P 0x11 0 1M", "-c", "read -P 0x33 20M 7M", g.Paths[i])
	}
}

// Two images that differ in their suffix alone have an overlay each, and what a run leaves that is killed between the
// journal and libvirt is finished.
func TestSnapshotThatIsDeletedByRecover(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Format: "raw", Bus: "virtio", Size: "40M"}, {Format: "raw", Bus: "scsi", Size: "40M"}}})
	for i, name := range []string{"web.img", "web.raw"} {
		target, path := []string{"vda", "sda"}[i], filepath.Join(g.Dir, name)
		testguest.Virsh(t, "detach-disk", g.Name, target, "--config")
		if err := os.Rename(g.Paths[i], path); err != nil {
			t.Fatal(err)
		}
		g.Paths[i] = path
		testguest.Virsh(t, "attach-disk", g.Name, path, target, "--subdriver", "raw", "--config")
	}
	state := t.TempDir()
	r := take(t, g, SnapshotOptions{Name: "twins", StateDir: state})
	for _, d := range r.Disks {
		if d.File != filepath.Join(g.Dir, "web."+d.Target+".vaultfs-twins.qcow2") || !exists(d.File) {
			t.Errorf("disk: %+v", d)
		}
	}
	at, err := openGuest(t.Context(), uri, state, g.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := at.journal.update(func(e *entry) { e.Overlays, e.Snapshot = r.overlays(), r.Name }); err != nil {
		t.Fatal(err)
	}
	at.close()
	if done := recovered(t, state); !strings.Contains(done, "dropped libvirt's name of the snapshot vaultfs-twins") {
		t.Errorf("done: %s", done)
	}
	wantOwnImages(t, g)
	wantNothingLeft(t, state)
}

// The overlay of a block device is in the state directory, which QEMU must be able to pass.
func TestSnapshotOfABlockDevice(t *testing.T) {
	t.Parallel()
	image := filepath.Join(testguest.Dir(t), "image")
	shell(t, "truncate", "-s", "32M", image)
	loop := strings.TrimSpace(shell(t, "losetup", "--find", "--show", image))
	t.Cleanup(func() { shell(t, "losetup", "--detach", loop) })
	g := idle(t, testguest.Spec{NoAgent: true, Extra: `<disk type='block' device='disk'><driver name='qemu' type='raw'/>
		<source dev='` + loop + `'/><target dev='vdb' bus='virtio'/></disk>`})
	state := testguest.Dir(t)
	r := take(t, g, SnapshotOptions{Name: "block", StateDir: state})
	if len(r.Disks) != 2 || r.Disks[1].Image != loop || filepath.Dir(filepath.Dir(r.Disks[1].File)) != filepath.Join(state, "snapshots") || !exists(r.Disks[1].File) {
		t.Errorf("disks: %+v", r.Disks)
	}
	wantState(t, g, "running")
	if _, err := DeleteSnapshot(t.Context(), g.Name, r.Name, DeleteOptions{Connect: uri, StateDir: state}); err != nil {
		t.Fatal(err)
	}
	if list := testguest.Virsh(t, "domblklist", g.Name); !strings.Contains(list, loop) {
		t.Errorf("%s is not a disk of the guest:\n%s", loop, list)
	}
	wantOwnImages(t, g)
	wantEmpty(t, filepath.Join(state, "snapshots"))
}

func TestGuestsThatHaveNoSnapshot(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	refused := func(words ...string) {
		t.Helper()
		_, err := TakeSnapshot(t.Context(), g.Name, SnapshotOptions{Connect: uri, StateDir: t.TempDir()})
		wantError(t, err, append(words, g.Name)...)
	}
	testguest.Virsh(t, "managedsave", g.Name)
	refused("is saved", "virsh managedsave-remove")
	g.Start()
	testguest.Virsh(t, "undefine", g.Name)
	refused("is transient", "virsh define")
}

// Deleted half and killed, so that nothing but libvirt's name of the snapshot is left.
func TestSnapshotWhoseOverlaysAreGone(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "40M"}}})
	r := take(t, g, SnapshotOptions{Name: "gone"})
	if err := os.Remove(r.Disks[0].File); err != nil {
		t.Fatal(err)
	}
	_, err := deleteSnapshot(t, g, r.Name)
	wantError(t, err, g.Name, r.Disks[0].File+" is gone")
	testguest.Virsh(t, "detach-disk", g.Name, "vda", "--config")
	testguest.Virsh(t, "attach-disk", g.Name, g.Paths[0], "vda", "--config")
	if list := listOf(t, g); len(list) != 1 {
		t.Errorf("list: %+v", list)
	}
	mustDelete(t, g, r.Name)
	wantOwnImages(t, g)
}

func TestKindOfSnapshot(t *testing.T) {
	t.Parallel()
	internal := []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "8M"}}
	t.Run("UEFI", func(t *testing.T) {
		g := testguest.Define(t, testguest.Spec{UEFI: true, Disks: internal})
		if r := take(t, g, SnapshotOptions{}); r.Kind != KindExternal {
			t.Errorf("snapshot: %+v", r)
		}
	})
	t.Run("dirty bitmap", func(t *testing.T) {
		g := testguest.Define(t, testguest.Spec{Disks: internal})
		shell(t, "qemu-img", "bitmap", "--add", g.Paths[0], "b")
		if r := take(t, g, SnapshotOptions{}); r.Kind != KindExternal {
			t.Errorf("snapshot: %+v", r)
		}
	})
	t.Run("neither", func(t *testing.T) {
		g := testguest.Define(t, testguest.Spec{Disks: internal, Extra: `<disk type='network' device='disk'><driver name='qemu' type='raw'/>
			<source protocol='nbd' name='x'><host name='127.0.0.1' port='1'/></source><target dev='vdq' bus='virtio'/></disk>`})
		_, err := TakeSnapshot(t.Context(), g.Name, SnapshotOptions{Connect: uri, StateDir: t.TempDir()})
		wantError(t, err, g.Name, "internal: disk vdq is raw", "external: disk vdq is on the network (nbd:x)", "back it up instead")
	})
	t.Run("a file in the way", func(t *testing.T) {
		g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "1M"}}})
		way := filepath.Join(g.Dir, "vda.vda.vaultfs-x.qcow2")
		shell(t, "touch", way)
		_, err := TakeSnapshot(t.Context(), g.Name, SnapshotOptions{Connect: uri, Name: "x", StateDir: t.TempDir()})
		wantError(t, err, g.Name, way, "exists already")
	})
}

func TestNamesOfSnapshots(t *testing.T) {
	for _, name := range []string{"a/b", "../x", "a:b", "a b", strings.Repeat("x", 200), "ä"} {
		_, err := TakeSnapshot(t.Context(), "nobody", SnapshotOptions{Connect: uri, Name: name})
		wantError(t, err, "snapshot name")
	}
}
