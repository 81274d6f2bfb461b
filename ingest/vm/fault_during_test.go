package vm

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"vaultfs/internal/testguest"
)

// during is what happens to a guest while it is read.
type during struct {
	name  string
	step  string // of the backup at which it happens; "" is "reading"
	do    func(f *trial)
	fails []string       // words of the error; nil: the backup works
	after func(f *trial) // after it, before the next backup
	how   []string       // of the next backup: disk, how it is read
	usual string         // the guest's state after the backup; "" is "running"
}

var guestFaults = []during{
	{
		name: "guest reset",
		do:   func(f *trial) { f.virsh("reset") },
	},
	{
		name:  "guest paused",
		do:    func(f *trial) { f.virsh("suspend") },
		usual: "paused",
		after: func(f *trial) { f.virsh("resume") },
	},
	{
		name:  "guest destroyed",
		do:    func(f *trial) { f.g.Destroy() },
		fails: []string{"stopped while it was being read", "start again, it will be read offline"},
		usual: "shut off",
		after: func(f *trial) { f.g.Start() },
	},
	{
		name:  "guest destroyed as all was read",
		step:  "read",
		do:    func(f *trial) { f.g.Destroy() },
		fails: []string{"stopped while it was being read"},
		usual: "shut off",
		after: func(f *trial) { f.g.Start() },
	},
	{
		name:  "guest destroyed and started",
		do:    func(f *trial) { f.restart() },
		fails: []string{"VM "},
	},
	{
		name:  "QEMU killed",
		do:    func(f *trial) { f.kill9() },
		fails: []string{"stopped while it was being read"},
		usual: "shut off",
		after: func(f *trial) { f.g.Start() },
		how:   []string{"vda", noBitmap, "vdb", noBitmap},
	},
	{
		name:  "job aborted by somebody",
		do:    func(f *trial) { f.virsh("domjobabort") },
		fails: []string{"the backup job ended before everything was read (aborted by someone, or the guest was restarted)"},
	},
	{
		name: "disk detached and resized",
		do: func(f *trial) {
			for _, args := range [][]string{{"detach-disk", f.g.Name, "vdb"}, {"blockresize", f.g.Name, "vdb", "48M"}} {
				if err := f.attempt(args...); err == nil {
					f.t.Errorf("libvirt goes along with %q during the job", args)
				}
			}
		},
	},
	{
		name: "connection to libvirt lost",
		do:   func(f *trial) { f.way.drop(f.t) },
	},
	{
		name: "connection to libvirt lost as the job began",
		step: "begun",
		do:   func(f *trial) { f.way.drop(f.t) },
	},
	{
		name: "connection to libvirt lost before the commit",
		step: "ended",
		do:   func(f *trial) { f.way.drop(f.t) },
	},
	{
		name: "connection to libvirt lost after the commit",
		step: "committed",
		do:   func(f *trial) { f.way.drop(f.t) },
	},
	{
		name: "second run",
		do: func(f *trial) {
			other := f.options()
			other.StateDir = testguest.Dir(f.t)
			_, err := Ingest(f.t.Context(), f.repo, f.g.Name, f.options())
			wantError(f.t, err, f.g.Name, "is being backed up by another vaultfs process", "wait until that has ended")
			_, err = Ingest(f.t.Context(), newRepo(f.t), f.g.Name, f.options())
			wantError(f.t, err, f.g.Name, "is being backed up by another vaultfs process", "wait until that has ended")
			_, err = Ingest(f.t.Context(), newRepo(f.t), f.g.Name, other)
			wantError(f.t, err, f.g.Name, "in use by another vaultfs process")
			wantNothingLeft(f.t, other.StateDir)
			if list, err := Recover(f.t.Context(), RecoverOptions{StateDir: f.state, Repo: f.repo}); err != nil || len(list) > 0 {
				f.t.Errorf("recover touches a guest that is being read: %v %v", list, err)
			}
		},
	},
	{
		name: "disk attached",
		do: func(f *trial) {
			f.virsh("attach-disk", f.newImage("vdc", "32M"), "vdc", "--subdriver", "qcow2", "--live", "--config")
		},
		after: func(f *trial) { f.images["vdc"] = filepath.Join(f.g.Dir, "vdc.qcow2") },
		how:   []string{"vdc", "full: the disk is new"},
	},
}

func TestFaultsOfAGuestThatIsRead(t *testing.T) {
	t.Parallel()
	f := newTrial(t)
	f.way = newGate(t)
	testDuring(t, f, guestFaults)
}

// testDuring backs one guest up again and again, while each of the things happens to it; after each the next backup must
// be right, and leave nothing behind.
func testDuring(t *testing.T, f *trial, list []during) {
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	for _, c := range list {
		if !f.run(c.name, func() { f.during(c) }) {
			return
		}
	}
}

func (f *trial) during(c during) {
	if c.step == "" {
		c.step = "reading"
	}
	if c.usual == "" {
		c.usual = "running"
	}
	for target := range f.images {
		f.write(target, 6)
	}
	before := f.kept()
	do := func() { c.do(f) }
	if c.fails != nil {
		f.fails(c.step, do, append(c.fails, f.g.Name)...)
		f.usual = c.usual
		f.cleanBut(before)
	} else {
		result := f.mustIngest(c.step, do)
		f.usual = c.usual
		f.clean(result)
	}
	if c.after != nil {
		c.after(f)
	}
	f.usual = "running"
	f.write("vda", 7)
	f.clean(f.backup(c.how...))
}

// cleanBut is clean after a backup that failed: the checkpoint before is the only one of a guest that runs.
func (f *trial) cleanBut(before string) {
	f.t.Helper()
	if f.usual == "running" {
		f.clean(&Result{Checkpoint: before})
		return
	}
	wantState(f.t, f.g, f.usual)
	wantNothingLeft(f.t, f.state)
	wantEmpty(f.t, f.scratch)
	f.noOverlays()
}

// small is a file system of its own, of a size in MiB.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := testguest.Dir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestFaultsOfScratchSpace has the guest overwrite more than the scratch space takes.
func TestFaultsOfScratchSpace(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{NoAgent: true, Disks: qcow2Disks})
	for _, path := range g.Paths {
		fill(t, path)
	}
	f := trialOf(t, g)
	f.images["vda"], f.images["vdb"] = g.Paths[0], g.Paths[1]
	f.state = small(t, "48m") // QEMU sees the mounts that were there when it was started
	f.scratch = f.state + "/scratch"
	f.keepFree = nothing
	g.Start()
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	for _, c := range []during{
		{
			name:  "runs short before",
			do:    func(f *trial) {},
			fails: []string{"MiB are free in " + f.scratch, "where what the guest overwrites during the backup is kept", "256 MiB must stay free: free some, or name another place with --scratch-dir"},
		},
		{
			name: "runs short",
			do: func(f *trial) {
				for at := 20; at < 27; at++ {
					for range 2 {
						f.write("vda", at)
					}
				}
			},
			fails: []string{"the backup was stopped before it would hold up the guest", "MiB must stay free: free some, or name another place with --scratch-dir"},
		},
	} {
		f.keepFree = keepFree
		if c.name == "runs short" {
			f.keepFree = func(size int64) int64 { return size - 2<<20 }
		}
		f.run(c.name, func() {
			before := f.kept()
			f.fails("reading", func() { c.do(f) }, append(c.fails, g.Name)...)
			f.cleanBut(before)
			f.keepFree = nothing
			f.clean(f.backup())
		})
	}
}

// TestFaultsOfTheRepository fills it, and takes it away, at each step at which it is written.
func TestFaultsOfTheRepository(t *testing.T) {
	t.Parallel()
	dir := small(t, "80m")
	f := newTrial(t)
	f.repoDir = dir + "/repo"
	if err := os.Mkdir(f.repoDir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.repo = repoIn(t, f.repoDir)
	away := dir + "/away"
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	empty := func(f *trial) {
		if err := os.Remove(dir + "/filler"); err != nil {
			f.t.Fatal(err)
		}
	}
	list := []during{{
		name: "full before it is written", step: "journal",
		do:    func(f *trial) { fillUp(f.t, dir, 1<<20) },
		fails: []string{f.g.Name, "only 1 MiB are free in the repository", "free some, or use another repository"},
		after: empty,
	}}
	for _, step := range []string{"read", "ended"} {
		list = append(list, during{
			name: "full at " + step, step: step,
			do:    func(f *trial) { fillUp(f.t, dir, 0) },
			fails: []string{"store is full"},
			after: empty,
		}, during{
			name: "vanishes at " + step, step: step,
			do: func(f *trial) {
				shell(f.t, "cp", "-a", f.repoDir, away)
				if err := os.RemoveAll(f.repoDir); err != nil {
					f.t.Fatal(err)
				}
			},
			fails: []string{"no such file or directory"},
			after: func(f *trial) { rename(f.t, away, f.repoDir); f.repo = repoIn(t, f.repoDir) },
		})
	}
	for _, c := range list {
		f.run(c.name, func() {
			f.write("vda", 6)
			before := f.kept()
			_, err := f.ingest(c.step, func() { c.do(f) })
			f.cleanBut(before)
			c.after(f)
			wantError(f.t, err, c.fails...)
			f.t.Log(err)
			f.clean(f.backup())
		})
	}
}

// fillUp leaves that much of a file system, in bytes.
func fillUp(t *testing.T, dir string, leave int64) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(dir + "/filler")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, int64(fs.Bavail)*fs.Frsize-leave); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}
