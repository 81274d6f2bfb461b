package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/ingest"
	"vaultfs/internal/testguest"
)

// powerButton is the guest's input device that ACPI's power button is. Debian's systemd-logind would listen to it, but
// wants D-Bus, which the image has not.
const powerButton = "/dev/input/event1"

// TestSnapshotsAndShutDown shares one guest, which is shut down at the end: to boot is what takes long.
func TestSnapshotsAndShutDown(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Base: true, Format: "qcow2", Bus: "virtio"},
		{Format: "raw", Bus: "scsi", Size: "64M"},
	}, Extra: `<disk type='file' device='cdrom'><target dev='sdz' bus='scsi'/></disk>`})
	base := fileSum(t, testguest.Image(t))
	g.Start()
	g.WaitAgent()
	g.Run("mkfs.ext4 -q /dev/sda; mkdir -p /data; mount /dev/sda /data")
	t.Run("snapshot taken and deleted", func(t *testing.T) { snapshotTakenAndDeleted(t, g) })
	t.Run("others lie on a snapshot", func(t *testing.T) { othersLieOnSnapshot(t, g) })
	t.Run("killed while a snapshot is merged", func(t *testing.T) { killedWhileMerging(t, g) })
	t.Run("restarts instead of shutting down", func(t *testing.T) { restartsInstead(t, g) })
	t.Run("presses the power button", func(t *testing.T) { pressedOnly(t, g) })
	t.Run("shuts down", func(t *testing.T) { shutsDown(t, g) })
	if got := fileSum(t, testguest.Image(t)); got != base {
		t.Errorf("the image below all was written to: sha256 %s, was %s", got, base)
	}
}

// setShutdown makes a script what the agent shuts the guest down with. Debian's own wants D-Bus, which the image has not.
func setShutdown(g *testguest.Guest, script string) {
	g.Run(`rm -f /sbin/shutdown; cat >/sbin/shutdown <<'END'
#!/bin/sh
` + script + `
END
chmod +x /sbin/shutdown`)
}

// restartsInstead is a guest whose agent goes and comes again, as it does when the guest restarts. The guest may still go
// off, so the order is remembered.
func restartsInstead(t *testing.T, g *testguest.Guest) {
	setShutdown(g, `systemd-run sh -c 'sleep 1; systemctl stop qemu-guest-agent; sleep 3; systemctl start qemu-guest-agent'`)
	r := offlineRun(t, g, time.Minute)
	_, err := beginOff(t.Context(), r)
	wantError(t, err, g.Name, "restarted instead of shutting down", "left running", "nothing was backed up", "--mode live", "vaultfs recover")
	if still := new(StillRunning); !errors.As(err, &still) {
		t.Errorf("%v does not tell that the guest still runs", err)
	}
	if e := r.journal.entry; !e.Restart || e.Ordered.IsZero() {
		t.Errorf("journal: %+v", e)
	}
	wantState(t, g, "running")
	leave(r)
	g.WaitAgent()
}

// pressedOnly is a guest without an agent for a while, that sees its power button pressed and does nothing.
func pressedOnly(t *testing.T, g *testguest.Guest) {
	// The button is opened first: what is pressed from then on is kept until it is read. The agent has to answer this.
	g.Run(`systemd-run sh -c 'exec 3<` + powerButton + `; sleep 3; systemctl stop qemu-guest-agent; head -c 24 <&3 >/data/pressed; systemctl start qemu-guest-agent'`)
	waitFor(t, "the agent to be gone", func() bool {
		return strings.Contains(testguest.Virsh(t, "dumpxml", g.Name), "state='disconnected'")
	})
	r := offlineRun(t, g, 3*time.Second)
	_, err := beginOff(t.Context(), r)
	wantError(t, err, g.Name, "asked to shut down (by its power button)", "has not within 3s", "left running")
	leave(r)
	g.WaitAgent()
	if size := g.Run("stat -c %s /data/pressed"); size != "24" {
		t.Errorf("the guest has %s bytes from its power button", size)
	}
}

// shutsDown is a guest whose agent shuts it down. What it wrote last is read, and it runs again.
func shutsDown(t *testing.T, g *testguest.Guest) {
	sum, _, _ := strings.Cut(g.Run("head -c 3000000 /dev/urandom >/data/file; sha256sum /data/file"), " ")
	setShutdown(g, "systemctl poweroff")
	r := offlineRun(t, g, DefaultShutdownTimeout)
	s, err := beginStopped(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, g, "shut off")
	raw := filepath.Join(t.TempDir(), "sda.raw")
	if err := copyOut(t.Context(), t, s.disks[1], raw); err != nil {
		t.Error(err)
	}
	if err := s.check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	wantState(t, g, "running")
	var result Result
	s.tell(&result)
	t.Logf("down for %v; notes %q", result.Down, result.Notes)
	if result.Quiesced != "yes: shut off" || len(result.Warnings) > 0 || result.Down <= 0 ||
		!hasText(result.Notes, "shut down for", "asked by its agent", "then started again") {
		t.Errorf("result: %+v", result)
	}
	if got := sumInside(t, raw, 0, "/file"); got != sum {
		t.Errorf("sda: sha256 %s, the guest says %s", got, sum)
	}
	wantNothingLeft(t, leave(r))
}

// onceTold does something a second after the only guest in a journal was told to shut down. A guest that runs its firmware
// does nothing of itself then.
func onceTold(t *testing.T, state string, do func()) {
	go func() {
		for t.Context().Err() == nil {
			names, _ := filepath.Glob(filepath.Join(journalDir(state), "*.json"))
			for _, name := range names {
				if e, err := readEntry(name); err == nil && e != nil && !e.Ordered.IsZero() {
					time.Sleep(time.Second)
					do()
					return
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
}

// A whole backup of a guest that is shut down for it, by a stand-in for the guest's doing.
func TestBackupThatShutsAGuestDown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r, state := newRepo(t), t.TempDir()
	onceTold(t, state, g.Destroy)
	result, err := Ingest(t.Context(), r, g.Name, Options{Connect: uri, Mode: ModeOffline, Shutdown: true, StateDir: state})
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, g, "running")
	s := result.Snapshot
	if s.Info.Mode != ModeOffline || !strings.HasPrefix(s.Info.Quiesced, "no: the guest was forced off") || !hasText(result.Warnings, "forced off") {
		t.Errorf("mode %s, quiesced %q, warnings %q", s.Info.Mode, s.Info.Quiesced, result.Warnings)
	}
	if result.Down <= 0 || !hasText(s.Info.Notes, "shut down for", "asked by its power button", "then started again") {
		t.Errorf("down for %v, notes %q", result.Down, s.Info.Notes)
	}
	wantNothingLeft(t, state)
	g.Destroy()
	wantSame(t, restore(t, r, s, "vda"), g.Paths[0], "qcow2")
}

// A run that is killed when it has shut a guest down.
func TestKilledWhileAGuestIsOff(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	state := t.TempDir()
	onceTold(t, state, g.Destroy)
	kill := startChild(t, "shutdown", g, state)
	wantState(t, g, "shut off")
	kill()
	if done := recovered(t, state); !strings.Contains(done, "started it: it had been shut down to be read") {
		t.Errorf("done: %s", done)
	}
	wantState(t, g, "running")
	wantNothingLeft(t, state)
}

// shutDownChild shuts a guest down to read it, and hangs.
func shutDownChild(r *run, hang func() error) error {
	r.options.Mode, r.options.Shutdown = ModeOffline, true
	if _, err := beginStopped(context.Background(), r); err != nil {
		return err
	}
	return hang()
}

// recovered is what Recover has done, in one text.
func recovered(t *testing.T, state string) string {
	t.Helper()
	list, err := Recover(t.Context(), RecoverOptions{StateDir: state})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, one := range list {
		if one.Err != nil {
			t.Error(one.Err)
		}
		fmt.Fprintln(&b, strings.Join(one.Done, "\n"))
	}
	return b.String()
}

func wantNothingLeft(t *testing.T, state string) {
	t.Helper()
	if left, err := leftEntries(state); err != nil || len(left) > 0 {
		t.Errorf("left in the journal: %v %v", left, err)
	}
}

// hasText tells whether one of the texts holds all of the words.
func hasText(texts []string, words ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
}

// offlineRun is of a guest that may be shut down.
func offlineRun(t *testing.T, g *testguest.Guest, limit time.Duration) *run {
	t.Helper()
	_, d := domainOf(t, g)
	return runOf(t, d, &Options{Mode: ModeOffline, Shutdown: true, ShutdownTimeout: limit})
}

// leave ends a run so that another one can be at the guest.
func leave(r *run) (state string) {
	r.journal.close()
	return r.options.StateDir
}

// A guest that runs its firmware only does not shut down when it is told to.
func TestGuestThatDoesNotShutDown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r := offlineRun(t, g, 2*time.Second)
	_, err := beginOff(t.Context(), r)
	wantError(t, err, g.Name, "has not within 2s", "by its power button", "left running and may still shut down", "nothing was backed up", "--shutdown-timeout", "vaultfs recover")
	wantState(t, g, "running")
	state := leave(r)
	if done := recovered(t, state); !strings.Contains(done, "still runs") {
		t.Errorf("done: %s", done)
	}
	g.Destroy() // as if it obeyed after all
	if done := recovered(t, state); !strings.Contains(done, "started it: it was asked to shut down") {
		t.Errorf("done: %s", done)
	}
	wantState(t, g, "running")
	wantNothingLeft(t, state)
}

func TestInterruptedWaitForAGuestToShutDown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r := offlineRun(t, g, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	onceTold(t, r.options.StateDir, cancel)
	_, err := beginOff(ctx, r)
	wantError(t, err, g.Name, "left running and may still shut down", "nothing was backed up")
	var still *StillRunning
	if !errors.As(err, &still) || still.VM != g.Name {
		t.Errorf("%v does not tell that the guest still runs", err)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is no interruption", err)
	}
	wantState(t, g, "running")
	if e := r.journal.entry; !e.Restart || e.Ordered.IsZero() {
		t.Errorf("journal: %+v", e)
	}
}

// beginDestroyed begins with a guest that is forced off while it should shut down.
func beginDestroyed(t *testing.T, g *testguest.Guest, r *run) *stopped {
	t.Helper()
	onceTold(t, r.options.StateDir, g.Destroy)
	s, err := beginStopped(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, g, "shut off")
	return s
}

// Ctrl-C while a guest that was shut down is read.
func TestInterruptedReadOfAGuestThatWasShutDown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Connect: uri, Mode: ModeOffline, Shutdown: true, StateDir: t.TempDir(), Progress: new(ingest.Progress)}
	onceTold(t, o.StateDir, func() {
		g.Destroy()
		for o.Progress.Read.Load() == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	r := newRepo(t)
	if _, err := Ingest(ctx, r, g.Name, o); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted ingest: %v", err)
	}
	wantState(t, g, "running")
	wantNoSnapshots(t, r)
	wantNothingLeft(t, o.StateDir)
}

func TestGuestThatCannotBeStartedAgain(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r := offlineRun(t, g, time.Minute)
	s := beginDestroyed(t, g, r)
	away := g.Paths[0] + ".away"
	if err := os.Rename(g.Paths[0], away); err != nil {
		t.Fatal(err)
	}
	err := s.close()
	wantError(t, err, g.Name, "shut down to be read", "cannot be started again", "No such file", "virsh start "+g.Name, "vaultfs recover")
	var result Result
	s.tell(&result)
	if result.Down != 0 || !strings.HasPrefix(result.Quiesced, "no: the guest was forced off") || !hasText(result.Warnings, "forced off") {
		t.Errorf("result: %+v", result)
	}
	state := leave(r)
	list, err := Recover(t.Context(), RecoverOptions{StateDir: state})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	wantError(t, list[0].Err, "cannot be started again")
	if err := os.Rename(away, g.Paths[0]); err != nil {
		t.Fatal(err)
	}
	if done := recovered(t, state); !strings.Contains(done, "started it") {
		t.Errorf("done: %s", done)
	}
	wantState(t, g, "running")
	wantNothingLeft(t, state)
}

func TestGuestThatSomebodyStartsWhileItIsRead(t *testing.T) {
	t.Parallel()
	// QEMU keeps a lock on qcow2 images that are read, and does not start; on raw ones it keeps none.
	g := idle(t, testguest.Spec{NoAgent: true, Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "64M"}}})
	r := offlineRun(t, g, time.Minute)
	s := beginDestroyed(t, g, r)
	g.Start()
	wantError(t, s.check(t.Context()), g.Name, "was started while it was being read")
	if err := s.close(); err != nil {
		t.Error(err)
	}
	var result Result
	s.tell(&result)
	if !hasText(result.Notes, "somebody else started it") {
		t.Errorf("notes: %q", result.Notes)
	}
	wantState(t, g, "running")
	wantNothingLeft(t, leave(r))
}

// A guest that runs under another number than when it was told to shut down has been off in between.
func TestGuestThatSomethingStartsAtOnce(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	l, err := newLink(d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	s := &stopped{name: g.Name, link: l}
	if s.id, err = runningID(l); err != nil || s.id == 0 {
		t.Fatalf("number %d, %v", s.id, err)
	}
	g.Destroy()
	if id, err := runningID(l); err != nil || id != 0 {
		t.Errorf("number of a guest that is off: %d, %v", id, err)
	}
	g.Start()
	ended, err := s.powerOff(t.Context(), time.Minute)
	wantError(t, err, "something started it again at once", "nothing was backed up")
	if !ended {
		t.Error("the order is taken for one that may still be obeyed")
	}
	wantState(t, g, "running")
}

func TestGuestsThatAreNotShutDown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	refused := func(words ...string) {
		t.Helper()
		r := offlineRun(t, g, time.Second)
		_, err := beginOff(t.Context(), r)
		wantError(t, err, append(words, g.Name, "cannot be shut down")...)
		wantNothingLeft(t, leave(r))
	}
	testguest.Virsh(t, "suspend", g.Name)
	refused("is paused", "virsh resume", "--mode live")
	wantState(t, g, "paused")
	testguest.Virsh(t, "resume", g.Name)

	extra := g.Dir + "/extra.raw"
	shell(t, "truncate", "-s", "1M", extra)
	testguest.Virsh(t, "attach-disk", g.Name, extra, "vdb", "--live")
	refused("disk vdb", "--config", "gone after the restart")
	testguest.Virsh(t, "attach-disk", g.Name, extra, "vdb", "--config")

	card := g.Dir + "/card.xml"
	if err := os.WriteFile(card, []byte("<interface type='user'><mac address='52:54:00:00:00:07'/></interface>"), 0o600); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "attach-device", g.Name, card, "--live")
	refused("network card 52:54:00:00:00:07")
	testguest.Virsh(t, "attach-device", g.Name, card, "--config")

	next := g.Dir + "/next.raw"
	shell(t, "truncate", "-s", "1M", next)
	testguest.Virsh(t, "attach-disk", g.Name, next, "vdc", "--config")
	refused("definition was changed", "disk vdc is not plugged in yet", "--mode live")
	testguest.Virsh(t, "detach-disk", g.Name, "vdc", "--config")
	testguest.Virsh(t, "setvcpus", g.Name, "2", "--config", "--maximum")
	refused("definition was changed", "processors: 1 of 2, now 1 of 1")
	testguest.Virsh(t, "setvcpus", g.Name, "1", "--config", "--maximum")
	testguest.Virsh(t, "setmaxmem", g.Name, "512M", "--config")
	refused("definition was changed", "memory: 512 MiB, now 256 MiB")
	testguest.Virsh(t, "setmaxmem", g.Name, "256M", "--config")

	testguest.Virsh(t, "undefine", g.Name)
	refused("is transient", "virsh define")
	wantState(t, g, "running")
}

func TestGuestThatWouldRestartIsNotShutDown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true, Extra: `</devices><on_poweroff>restart</on_poweroff><devices>`})
	r := offlineRun(t, g, time.Second)
	_, err := beginOff(t.Context(), r)
	wantError(t, err, g.Name, "cannot be shut down", "<on_poweroff>restart")
	wantState(t, g, "running")
}

// Orders to shut down, and guests seen off, are remembered for as long as they may be the reason that a guest is off.
func TestOldOrdersToShutDown(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	ordered := func(ago time.Duration) entry { return entry{Ordered: time.Now().Add(-ago)} }
	seenOff := func(ago time.Duration) entry { return entry{Off: time.Now().Add(-ago)} }
	for _, c := range []struct {
		name  string
		off   bool
		left  entry
		says  string
		state string
	}{
		{"not obeyed", false, ordered(2 * time.Hour), "and has not: it runs", "running"},
		{"obeyed late", true, ordered(24 * time.Hour), "started it", "running"},
		{"started by somebody", false, seenOff(48 * time.Hour), "has been started since", "running"},
		{"seen off", true, seenOff(24 * time.Hour), "started it", "running"},
		{"ordered long ago", true, ordered(48 * time.Hour), "left off", "shut off"},
		{"seen off long ago", true, seenOff(48 * time.Hour), "not started again", "shut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if running := g.State() == "running"; running && c.off {
				g.Destroy()
			} else if !running && !c.off {
				g.Start()
			}
			r := offlineRun(t, g, time.Second)
			if err := r.journal.update(func(e *entry) { e.Restart, e.Ordered, e.Off = true, c.left.Ordered, c.left.Off }); err != nil {
				t.Fatal(err)
			}
			state := leave(r)
			if done := recovered(t, state); !strings.Contains(done, c.says) {
				t.Errorf("done: %s", done)
			}
			wantState(t, g, c.state)
			wantNothingLeft(t, state)
		})
	}
}
