package vm

import (
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/testguest"
)

func revert(t *testing.T, g *testguest.Guest, name string) (*RevertResult, error) {
	t.Helper()
	return RevertSnapshot(t.Context(), g.Name, name, DeleteOptions{Connect: uri, StateDir: t.TempDir()})
}

func mustRevert(t *testing.T, g *testguest.Guest, name string) *RevertResult {
	t.Helper()
	r, err := revert(t, g, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("done: %q", r.Done)
	return r
}

// TestRevertToAnExternalSnapshot goes back, from overlays that have been written to, with all that is begun by a run that
// is killed in between; and the guest starts from what it was set back to.
func TestRevertToAnExternalSnapshot(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Format: "qcow2", Bus: "virtio", Size: "64M"}, {Format: "raw", Bus: "scsi", Size: "40M"}},
		Extra: `</devices><metadata><x:y xmlns:x='urn:x'>kept</x:y></metadata><devices>`})
	sums := map[string]string{}
	for _, path := range g.Paths {
		fill(t, path)
		sums[path] = fileSum(t, path)
	}
	defined := func() string { // in no order, as besidesDisks says
		text := strings.ReplaceAll(testguest.Virsh(t, "dumpxml", "--inactive", g.Name), "      <backingStore/>\n", "")
		lines := strings.Split(text, "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	before := defined()
	wantBack := func() {
		t.Helper()
		wantState(t, g, "shut off")
		wantOwnImages(t, g)
		for path, sum := range sums {
			if fileSum(t, path) != sum {
				t.Errorf("%s is not as it was", path)
			}
		}
		if after := defined(); after != before {
			t.Errorf("the definition is\n%s\nwas\n%s", after, before)
		}
	}
	write := func(s *SnapshotResult) {
		for _, d := range s.Disks {
			shell(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x77 2M 1M", d.File)
		}
	}

	one := take(t, g, SnapshotOptions{Name: "one"})
	write(one)
	two := take(t, g, SnapshotOptions{Name: "two"}) // inside of the overlays, which are qcow2
	_, err := revert(t, g, one.Name)
	wantError(t, err, g.Name, "later snapshots lie on it (vaultfs-two)")
	mustRevert(t, g, two.Name)
	mustDelete(t, g, two.Name)
	if r := mustRevert(t, g, one.Name); len(r.Done) != 3 {
		t.Errorf("done: %q", r.Done)
	}
	wantBack()

	killed := take(t, g, SnapshotOptions{Name: "killed"})
	write(killed)
	at, err := openGuest(t.Context(), uri, t.TempDir(), g.Name)
	if err != nil {
		t.Fatal(err)
	}
	all, err := readDefinitions(at.link)
	if err != nil {
		t.Fatal(err)
	}
	x, err := setBack(all, killed.overlays())
	if err != nil {
		t.Fatal(err)
	}
	if err := defineDisks(at.link.reach(), x); err != nil {
		t.Fatal(err)
	}
	at.close()
	_, err = deleteSnapshot(t, g, killed.Name)
	wantError(t, err, g.Name, "does not name the overlay")
	if r := mustRevert(t, g, killed.Name); len(r.Done) != 2 {
		t.Errorf("done: %q", r.Done)
	}
	wantBack()

	last := take(t, g, SnapshotOptions{Name: "last"})
	g.Start()
	_, err = revert(t, g, last.Name)
	wantError(t, err, g.Name, "is running", "shut it down first")
	testguest.Virsh(t, "managedsave", g.Name)
	_, err = revert(t, g, last.Name)
	wantError(t, err, g.Name, "is saved", "virsh managedsave-remove")
	testguest.Virsh(t, "managedsave-remove", g.Name)
	mustRevert(t, g, last.Name)
	wantBack()
	g.Start()
	wantState(t, g, "running")
}

func TestRevertToAnInternalSnapshot(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "64M"}}})
	fill(t, g.Paths[0])
	r := take(t, g, SnapshotOptions{Name: "in"})
	if r.Kind != KindInternal {
		t.Fatalf("snapshot: %+v", r)
	}
	shell(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x77 0 1M", g.Paths[0])
	mustRevert(t, g, r.Name)
	shell(t, "qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x11 0 1M", "-c", "read -P 0x33 20M 7M", g.Paths[0])
	if list := listOf(t, g); len(list) != 1 {
		t.Errorf("list: %+v", list)
	}
	wantState(t, g, "shut off")
	_, err := revert(t, g, "nothing")
	wantError(t, err, "no snapshot nothing", "those made by vaultfs are: "+r.Name)
}

// A definition that came out poorer than it was is put back.
func TestDefinitionThatWouldLoseSomething(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "1M"}},
		Extra: `</devices><metadata><x:y xmlns:x='urn:x'>kept</x:y></metadata><devices>`})
	_, d := domainOf(t, g)
	x, err := parsedXML(d, libvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		t.Fatal(err)
	}
	x.Metadata = nil
	wantError(t, defineDisks(d, x), "would lose something", "left as it was", "remove the disk's <backingStore>")
	if now := testguest.Virsh(t, "dumpxml", "--inactive", g.Name); !strings.Contains(now, ">kept<") {
		t.Errorf("the definition is\n%s", now)
	}
}

// A VM that was set back is backed up as it is then, whatever checkpoints were made before and after the snapshot.
func TestBackupAfterRevert(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r, state := newRepo(t), t.TempDir()
	backup := func() *Result {
		t.Helper()
		result, err := Ingest(t.Context(), r, g.Name, Options{
			Connect: uri, Mode: ModeLive, NoQuiesce: true, StateDir: state, ScratchDir: testguest.Dir(t), keepFree: nothing,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", result.Disks)
		return result
	}
	for _, between := range []bool{false, true} { // a backup while the snapshot is there
		if between {
			g.Start()
		}
		backup()
		s := take(t, g, SnapshotOptions{Name: "back"})
		g.Destroy()
		shell(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x77 2M 1M", s.Disks[0].File)
		if between {
			g.Start()
			backup()
			g.Destroy()
		}
		mustRevert(t, g, s.Name)
		g.Start()
		result := backup()
		g.Destroy()
		wantSame(t, restore(t, r, result.Snapshot, "vda"), g.Paths[0], "qcow2")
	}
}
