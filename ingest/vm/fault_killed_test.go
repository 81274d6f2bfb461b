package vm

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testguest"
)

// killedAt are the steps of a live backup at which its process is killed.
var killedAt = []string{"journal", "scratch", "frozen", "begun", "reading", "read", "ended", "committed"}

// repoEnv is the directory of the repository that a child backs up to.
const repoEnv = "VAULTFS_TEST_REPO"

// ingestChild is a backup that hangs at a step.
func ingestChild(step, name, state string, hang func() error) error {
	r, err := openRepo(context.Background(), os.Getenv(repoEnv))
	if err != nil {
		return err
	}
	o := Options{Connect: uri, StateDir: state, NoAudit: true, at: func(now string) {
		if now == step {
			hang()
		}
	}}
	_, err = Ingest(context.Background(), r, name, o)
	return err
}

// TestKilledAtEachStep kills a live backup at each of its steps, by SIGKILL. What it leaves is set right by Recover, or
// by the next backup.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	f := newTrial(t)
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	for _, step := range killedAt {
		f.run(step+", then recover", func() {
			before := f.killed(step)
			f.recover(before, step)
			f.clean(f.backup())
		})
		f.run(step+", then backup", func() {
			f.killed(step)
			f.clean(f.backup())
		})
		if step == "journal" || step == "scratch" || step == "frozen" {
			continue // there is no job yet
		}
		f.run(step+", guest restarted, then backup", func() {
			f.killed(step)
			f.restart()
			f.clean(f.backup())
		})
	}
}

// killed kills a backup at a step, and gives the checkpoint before it.
func (f *trial) killed(step string) (before string) {
	f.t.Helper()
	before = f.kept()
	f.write("vda", 3)
	f.write("vdb", 8)
	startChild(f.t, "ingest-"+step, f.g, f.state, repoEnv+"="+f.repoDir)()
	f.write("vdb", 9) // the job that is left keeps no write from the guest
	return before
}

// recover sets right what a backup that was killed at a step has left. The checkpoint before it is still there, unless
// the backup was committed.
func (f *trial) recover(before, step string) {
	f.t.Helper()
	list, err := Recover(f.t.Context(), RecoverOptions{StateDir: f.state, Repo: f.repo})
	if err != nil || len(list) != 1 || list[0].Err != nil {
		f.t.Fatalf("recovered %+v, %v", list, err)
	}
	f.t.Logf("%q", list[0].Done)
	if step != "committed" {
		f.clean(&Result{Checkpoint: before})
		return
	}
	now := f.kept()
	if now == before {
		f.t.Errorf("%s is still the checkpoint", before)
	}
	f.clean(&Result{Checkpoint: now})
}

// killedWhileAgentIsAsked kills a backup of a booted guest at the steps at which the guest is frozen.
func killedWhileAgentIsAsked(t *testing.T, f *trial) {
	for _, step := range []string{"frozen", "begun"} {
		f.run(step, func() {
			before := f.kept()
			kill := startChild(f.t, "ingest-"+step, f.g, f.state, repoEnv+"="+f.repoDir)
			if !f.g.Frozen() {
				f.t.Error("the guest is not frozen")
			}
			kill()
			since := time.Now()
			waitFor(f.t, "the guest to be thawed", func() bool { return !f.g.Frozen() })
			if took := time.Since(since); took > 10*time.Second {
				f.t.Errorf("frozen for %v after the kill", took)
			}
			f.g.Run("echo still writes >/root/alive; sync")
			f.recover(before, step)
			f.clean(f.backup())
		})
	}
}

// TestFaultsOfABootedGuest shares one guest that has an agent and a quiet disk, vdb.
func TestFaultsOfABootedGuest(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{Disks: []testguest.Disk{
		{Base: true, Format: "qcow2", Bus: "virtio"},
		{Format: "qcow2", Bus: "virtio", Size: "64M"},
	}})
	fill(t, g.Paths[1])
	g.Start()
	g.WaitAgent()
	f := trialOf(t, g)
	f.images["vdb"], f.busy = g.Paths[1], []string{"vda"}
	want := strings.Fields(g.Run("head -c 3000000 /dev/urandom >/root/file; sync; sha256sum /root/file"))[0]
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	f.run("shuts down", func() {
		f.fails("reading", func() {
			f.g.Run("sync; setsid sh -c 'sleep 0.2; echo o >/proc/sysrq-trigger' >/dev/null 2>&1 &")
			waitFor(f.t, "the guest to be shutting down", func() bool { return f.g.State() != "running" })
		}, f.g.Name, "stopped while it was being read")
		waitFor(f.t, "the guest to be off", func() bool { return f.g.State() == "shut off" })
		f.usual = "shut off"
		f.cleanBut("")
		result := f.backup()
		f.cleanBut("") // the checkpoint of the backup that failed goes when the guest runs
		if got := sumInside(f.t, restore(f.t, f.repo, result.Snapshot, "vda"), partition, "/root/file"); got != want {
			f.t.Errorf("vda: sha256 %s, the guest says %s", got, want)
		}
	})
	f.g.Start()
	f.g.WaitAgent()
	f.usual = "running"
	f.run("started again", func() { f.clean(f.backup()) })
	f.run("killed while it is frozen", func() { killedWhileAgentIsAsked(f.t, f) })
	f.run("agent hangs", func() { hungAgent(f) })
	f.run("agent hangs while it is frozen", func() { hungFreeze(f) })
	f.run("reset", func() {
		f.clean(f.mustIngest("reading", func() { f.virsh("reset") }))
		o := f.options()
		o.NoQuiesce = true // libvirt 9.0.0 may lose the agent in a reset
		f.clean(f.backupTo(f.repo, o))
	})
}

// hungAgent stops the agent, so that it answers to nothing, for longer than a backup waits for it.
func hungAgent(f *trial) {
	f.g.Run(`setsid sh -c 'sleep 0.2; kill -STOP $(pidof qemu-ga); sleep 15; kill -CONT $(pidof qemu-ga)' >/dev/null 2>&1 &`)
	time.Sleep(2 * time.Second)
	f.notFrozen("the guest agent did not answer in time")
	f.g.WaitAgent()
	if f.g.Frozen() {
		f.t.Error("the guest froze when its agent went on")
	}
	f.clean(f.backup())
}

// notFrozen is a backup that warns of a guest that was not frozen, and is right apart from that.
func (f *trial) notFrozen(words string) {
	f.t.Helper()
	result := f.backup()
	if !strings.HasPrefix(result.Quiesced, "no: "+words) || !slices.ContainsFunc(result.Warnings, func(w string) bool { return strings.Contains(w, words) }) {
		f.t.Errorf("quiesced %q, warnings %q", result.Quiesced, result.Warnings)
	}
	f.clean(result)
}

// hungFreeze stops the agent after it has frozen the guest, so that the order to thaw is answered late. The agent notes
// in a file that the guest is frozen.
func hungFreeze(f *trial) {
	f.g.Run(`setsid sh -c 'while [ ! -e /run/qga.state.isfrozen ]; do sleep 0.1; done; sleep 2; kill -STOP $(pidof qemu-ga); sleep 8; kill -CONT $(pidof qemu-ga)' >/dev/null 2>&1 &`)
	result := f.mustIngest("frozen", func() { time.Sleep(4 * time.Second) })
	if !strings.HasPrefix(result.Quiesced, "yes: frozen for ") || result.Frozen < 5*time.Second {
		f.t.Errorf("quiesced %q, frozen for %v", result.Quiesced, result.Frozen)
	}
	if f.g.Frozen() {
		f.t.Error("the guest is frozen")
	}
	f.clean(result)
	f.clean(f.backup())
}
