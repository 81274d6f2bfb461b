package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/testguest"
)

// overlaySteps are the steps of a backup after which its process is killed, in order.
var overlaySteps = []string{"announced", "reading", "begun", "marked", "pivoted", "one removed"}

func init() {
	for _, step := range overlaySteps {
		children["overlay-"+strings.ReplaceAll(step, " ", "-")] = func(r *run, hang func() error) error {
			if err := overlaysUntil(r, step); err != nil {
				return err
			}
			return hang()
		}
	}
}

// overlaysUntil is a backup up to a step.
func overlaysUntil(r *run, step string) error {
	r.options.NoQuiesce, r.options.keepFree = true, nothing
	o, err := newOverlays(r)
	if err != nil || step == "announced" {
		return err
	}
	if err := o.take(context.Background()); err != nil {
		return err
	}
	if err := o.open(context.Background()); err != nil || step == "reading" {
		return err
	}
	if err := o.stopReading(); err != nil {
		return err
	}
	m := newMerger(o.link, r.journal)
	if step == "one removed" {
		return m.merge(o.made[0])
	}
	for _, one := range o.made {
		if err := commitUntil(m, one, step); err != nil {
			return err
		}
	}
	return nil
}

// commitUntil is the commit of one overlay up to a step.
func commitUntil(m *merger, o overlay, step string) error {
	if err := m.begin(o, false); err != nil {
		return err
	}
	if err := m.beginCommit(o.Target); err != nil || step == "begun" {
		return err
	}
	if err := m.waitReady(o); err != nil {
		return err
	}
	if step == "marked" {
		return mark(o)
	}
	return m.pivot(o, o.Target)
}

// TestOverlaysOfAKilledRun kills a backup after each step, with the guest running on or stopped, and sets right what it
// left. All writes of the guest must be in its own images then.
func TestOverlaysOfAKilledRun(t *testing.T) {
	t.Parallel()
	g := newLayered(t)
	for i, step := range overlaySteps {
		t.Run(step, func(t *testing.T) { killedWithOverlays(t, g, step, false) })
		if i%2 == 1 { // a step and the one before are the same to a guest that is off
			t.Run(step+", guest destroyed", func(t *testing.T) { killedWithOverlays(t, g, step, true) })
		}
	}
}

func killedWithOverlays(t *testing.T, g *layered, step string, stop bool) {
	g.start(t)
	state := testguest.Dir(t)
	startChild(t, "overlay-"+strings.ReplaceAll(step, " ", "-"), g.Guest, state)()
	g.writeAll(t)
	if stop {
		g.Destroy()
	}
	list, err := Recover(t.Context(), RecoverOptions{StateDir: state})
	if err != nil || len(list) != 1 || list[0].Err != nil {
		t.Fatalf("recover: %+v, %v", list, err)
	}
	t.Log(strings.Join(list[0].Done, "; "))
	if list, err := Recover(t.Context(), RecoverOptions{StateDir: state}); err != nil || len(list) != 0 {
		t.Errorf("recover finds more to do: %+v, %v", list, err)
	}
	want := "running"
	if stop {
		want = "shut off"
	}
	wantState(t, g.Guest, want)
	g.wantBack(t, state+"/scratch")
}

// nextBackupAfterAKilledOne sets right what was left, says so and goes on.
func nextBackupAfterAKilledOne(t *testing.T, g *layered) {
	state, r := testguest.Dir(t), newRepo(t)
	startChild(t, "overlay-reading", g.Guest, state)()
	g.writeAll(t)
	o := overlayOptions("")
	o.StateDir = state
	result, err := Ingest(t.Context(), r, g.Name, *o)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(result.Notes, "; "); !strings.Contains(notes, "committed the overlay of disk vda") || !strings.Contains(notes, "run of vaultfs that died") {
		t.Errorf("notes: %s", notes)
	}
	g.wantBack(t, state+"/scratch")
	for i, target := range []string{"vda", "sda", "vdb"} {
		wantSame(t, restore(t, r, result.Snapshot, target), g.before(i), "raw")
	}
}

// commitLeftRunning finds a block job at work.
func commitLeftRunning(t *testing.T, g *layered) {
	state := testguest.Dir(t)
	startChild(t, "overlay-reading", g.Guest, state)()
	g.writeAll(t)
	g.write(t, "vda", "write -P 3 10M 3M") // this, too
	testguest.Virsh(t, "blockcommit", g.Name, "vda", "--active", "--shallow", "--bandwidth", "1")
	list, err := Recover(t.Context(), RecoverOptions{StateDir: state})
	if err != nil || len(list) != 1 || list[0].Err != nil {
		t.Fatalf("recover: %+v, %v", list, err)
	}
	shell(t, "qemu-io", "-f", "raw", "-c", "write -P 3 10M 3M", g.before(0))
	g.wantBack(t, state+"/scratch")
}

// commitThatComesToNoEnd is given up, and finished later.
func commitThatComesToNoEnd(t *testing.T, g *layered) {
	_, d := domainOf(t, g.Guest)
	dir := testguest.Dir(t)
	r := runOf(t, d, overlayOptions(dir))
	o, err := beginOverlay(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	g.writeAll(t)
	if err := o.stopReading(); err != nil {
		t.Fatal(err)
	}
	const slow = 256 << 10 // bytes/s
	if err := d.BlockCommit("vda", "", "", slow, libvirt.DOMAIN_BLOCK_COMMIT_ACTIVE|libvirt.DOMAIN_BLOCK_COMMIT_SHALLOW|libvirt.DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES); err != nil {
		t.Fatal(err)
	}
	m := newMerger(o.link, r.journal)
	m.patience = 0
	wantError(t, m.explain(o.made[0], m.merge(o.made[0])), "disk vda", "no nearer to its end", "goes on with the overlay", "vaultfs recover")
	if err := m.again(o.made[0], errors.New("its guest runs")); errors.Is(err, errAgain) {
		t.Error("a guest that runs counts as stopped")
	}
	if e := journalOf(t, r); e == nil || len(e.Overlays) != 3 {
		t.Errorf("journal: %+v", e)
	}
	if err := o.close(); err != nil {
		t.Error(err)
	}
	g.wantBack(t, dir)
}

// qemuDiesInTheCommit leaves an image that is half old and half new, with a dirty bitmap that nobody has closed.
func qemuDiesInTheCommit(t *testing.T, g *layered) {
	_, d := domainOf(t, g.Guest)
	r := newRepo(t)
	live := overlayOptions(testguest.Dir(t))
	live.Method, live.StateDir = MethodBackup, testguest.Dir(t)
	before, err := Ingest(t.Context(), r, g.Name, *live)
	if err != nil {
		t.Fatal(err)
	}
	if before.Checkpoint == "" {
		t.Fatal("no checkpoint was made")
	}
	run := runOf(t, d, overlayOptions(testguest.Dir(t)))
	o, err := beginOverlay(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	g.writeAll(t)
	g.write(t, "vda", "write -P 3 10M 8M")
	for target := range qdev {
		g.write(t, target, "flush") // what a guest has not flushed need not outlive its QEMU
	}
	if err := o.stopReading(); err != nil {
		t.Fatal(err)
	}
	if err := newMerger(o.link, run.journal).begin(o.made[0], false); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "blockcommit", g.Name, "vda", "--active", "--shallow", "--bandwidth", "1")
	waitFor(t, "a part of the commit", func() bool {
		info, err := d.GetBlockJobInfo("vda", 0)
		return err == nil && info.Cur > 2<<20 && info.Cur < info.End
	})
	g.killQEMU(t)
	wantTakenOff(t, o)
	shell(t, "qemu-io", "-f", "raw", "-c", "write -P 3 10M 8M", g.before(0))
	shell(t, "sh", "-c", "qemu-img check -q -r leaks $0 || [ $? = 3 ]", g.Paths[0]) // clusters that are lost, no data
	g.wantBack(t, run.options.ScratchDir)

	g.Start()
	after, err := Ingest(t.Context(), r, g.Name, *live)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, warnings %q", after.Disks[0].How, after.Warnings)
	for i, target := range []string{"vda", "sda", "vdb"} {
		wantSame(t, restore(t, r, after.Snapshot, target), g.before(i), "raw")
	}
}

// killQEMU kills the guest's process, and waits until libvirt knows.
func (l *layered) killQEMU(t *testing.T) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join("/run/libvirt/qemu", l.Name+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	shell(t, "kill", "-9", strings.TrimSpace(string(pid)))
	waitFor(t, "the guest to be off", func() bool { return l.State() == "shut off" })
}
