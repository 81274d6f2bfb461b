package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// trial is a guest that something happens to, between two backups or during one; FAULTS.md lists what. Its guest runs
// its firmware only, so that its disks are written by nobody but the test and can be compared with what was restored.
type trial struct {
	t        *testing.T
	g        *testguest.Guest
	state    string            // vaultfs's state directory
	scratch  string            // and the scratch directory
	repo     *repo.Repo        // that backups go to
	repoDir  string            // where it is
	images   map[string]string // the disks' images by target
	busy     []string          // disks that the guest itself writes to, and that are not compared
	way      *gate             // to libvirt, whose connections can be broken; nil: as everybody's
	usual    string            // the guest's state that must not change
	keepFree func(int64) int64 // of the scratch space's file system; nil: as always
	pattern  int               // of the last write
	foreign  []string          // checkpoints that are not vaultfs's, in the order of their names
}

// qcow2Disks are of an idle guest.
var qcow2Disks = []testguest.Disk{
	{Format: "qcow2", Bus: "virtio", Size: "64M"},
	{Format: "qcow2", Bus: "virtio", Size: "32M"},
}

// newTrial starts a guest, with two qcow2 disks if none are given.
func newTrial(t *testing.T, disks ...testguest.Disk) *trial {
	t.Helper()
	if disks == nil {
		disks = qcow2Disks
	}
	f := trialOf(t, idle(t, testguest.Spec{NoAgent: true, Disks: disks}))
	for i, path := range f.g.Paths {
		f.images["vd"+string(rune('a'+i))] = path
	}
	return f
}

// trialOf is of a guest that runs.
func trialOf(t *testing.T, g *testguest.Guest) *trial {
	t.Helper()
	f := &trial{t: t, g: g, state: testguest.Dir(t), images: map[string]string{}, usual: "running"}
	f.scratch = filepath.Join(f.state, "scratch")
	f.repoDir = t.TempDir()
	f.repo = repoIn(t, f.repoDir)
	return f
}

// repoIn opens the repository in a directory, and makes it if there is none.
func repoIn(t testing.TB, dir string) *repo.Repo {
	t.Helper()
	r, err := openRepo(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func openRepo(ctx context.Context, dir string) (*repo.Repo, error) {
	st, err := store.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	password, cheap := []byte("secret"), seal.KDF{Memory: 64, Time: 1, Threads: 1}
	if _, err := os.Stat(filepath.Join(dir, "config")); err != nil {
		if err := repo.Init(ctx, st, repo.InitOptions{Password: password, Label: "test", Cost: cheap}); err != nil {
			return nil, err
		}
	}
	return repo.Open(ctx, st, repo.OpenOptions{Password: password})
}

// options are those of the trial's backups.
func (f *trial) options() Options {
	o := Options{Connect: uri, StateDir: f.state, NoAudit: true, keepFree: f.keepFree}
	if f.way != nil {
		o.Connect = f.way.uri
	}
	return o
}

// ingest is a backup in which something happens at one of its steps.
func (f *trial) ingest(step string, do func()) (*Result, error) {
	o := f.options()
	o.at = func(now string) {
		if now == step {
			do()
		}
	}
	return Ingest(f.t.Context(), f.repo, f.g.Name, o)
}

// mustIngest is a backup that works although something happens at one of its steps.
func (f *trial) mustIngest(step string, do func()) *Result {
	f.t.Helper()
	result, err := f.ingest(step, do)
	if err != nil {
		f.t.Fatal(err)
	}
	f.wantHow(result)
	f.right(f.repo, result.Snapshot)
	return result
}

// fails is a backup that must fail in one sentence with those words and leave no snapshot more than there was.
func (f *trial) fails(step string, do func(), words ...string) {
	f.t.Helper()
	before := f.snapshots()
	_, err := f.ingest(step, do)
	wantError(f.t, err, words...)
	if f.t.Log(err); f.snapshots() != before {
		f.t.Error("a snapshot was committed")
	}
}

func (f *trial) snapshots() int {
	f.t.Helper()
	list, err := f.repo.Snapshots(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return len(list)
}

// run is t.Run, with the trial in the subtest.
func (f *trial) run(name string, do func()) bool {
	outer := f.t
	defer func() { f.t = outer }()
	return outer.Run(name, func(t *testing.T) {
		f.t = t
		do()
	})
}

// backup must work, and hold what the disks hold; each is read as told ("vdb", "full: …"), or else incrementally.
func (f *trial) backup(how ...string) *Result {
	f.t.Helper()
	return f.backupTo(f.repo, f.options(), how...)
}

func (f *trial) backupTo(r *repo.Repo, o Options, how ...string) *Result {
	f.t.Helper()
	result, err := Ingest(f.t.Context(), r, f.g.Name, o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.wantHow(result, how...)
	f.right(r, result.Snapshot)
	return result
}

func (f *trial) wantHow(result *Result, how ...string) {
	f.t.Helper()
	if len(result.Disks) != len(f.images)+len(f.busy) {
		f.t.Errorf("disks: %+v, want %v and %v", result.Disks, f.images, f.busy)
	}
	for _, d := range result.Disks {
		want := incrementally
		if at := slices.Index(how, d.Target); at >= 0 {
			want = how[at+1]
		}
		if !strings.HasPrefix(d.How, want) {
			f.t.Errorf("disk %s: %q, want %q", d.Target, d.How, want)
		}
		if strings.HasPrefix(d.How, incrementally) && d.Read > 8<<20 && !slices.Contains(f.busy, d.Target) {
			f.t.Errorf("disk %s: %d bytes were read incrementally", d.Target, d.Read)
		}
		f.t.Logf("%s: %s; read %d, dirty %d", d.Target, d.How, d.Read, d.Dirty)
	}
	for _, remark := range append(result.Notes, result.Warnings...) {
		f.t.Log(remark)
	}
}

// right compares the disks of a snapshot with those of the guest.
func (f *trial) right(r *repo.Repo, s *repo.Snapshot) {
	f.t.Helper()
	running := f.g.State() != "shut off"
	for target, path := range f.images {
		if running {
			f.hmp(target, "flush")
		}
		shell(f.t, "qemu-img", "compare", "-U", "-f", "raw", "-F", strings.TrimPrefix(filepath.Ext(path), "."), restore(f.t, r, s, target), path)
	}
}

// write has QEMU write to a disk as if its guest did, which is all that dirty bitmaps and backup jobs see.
func (f *trial) write(target string, mib int) {
	f.t.Helper()
	f.pattern = f.pattern%250 + 1
	log := filepath.Join("/var/log/libvirt/qemu", f.g.Name+".log")
	before := count(f.t, log, "wrote 262144/262144")
	f.hmp(target, fmt.Sprintf("write -P %d %dM 256k", f.pattern, mib))
	waitFor(f.t, "a write to "+target, func() bool { return count(f.t, log, "wrote 262144/262144") > before })
}

// hmp runs a command of qemu-io on a virtio disk of a running guest, which libvirt counts from vda on.
func (f *trial) hmp(target, command string) {
	f.t.Helper()
	device := fmt.Sprintf("/machine/peripheral/virtio-disk%d/virtio-backend", target[2]-'a')
	if out := testguest.Virsh(f.t, "qemu-monitor-command", f.g.Name, "--hmp", fmt.Sprintf("qemu-io -d %s %q", device, command)); out != "" {
		f.t.Fatalf("%s: %s: %s", target, command, out)
	}
}

func count(t *testing.T, file, words string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), words)
}

// clean fails unless the guest is as it was and takes writes, nothing of a backup is left, and of this repository's
// checkpoints there is the one of the result, if any; no disk has a bitmap of another.
func (f *trial) clean(result *Result) {
	f.t.Helper()
	wantState(f.t, f.g, f.usual)
	if _, err := os.Stat(f.scratch); err == nil {
		wantNoJob(f.t, f.g, f.scratch)
	}
	wantNothingLeft(f.t, f.state)
	f.noOverlays()
	var kept []string
	if result.Checkpoint != "" {
		kept = []string{result.Checkpoint}
	}
	if got := f.checkpoints(checkpointPrefix(f.repo)); !slices.Equal(got, kept) {
		f.t.Errorf("checkpoints %q, want %q", got, kept)
	}
	if f.g.State() == "shut off" {
		return
	}
	for image, names := range f.bitmaps() {
		if names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, checkpointPrefix(f.repo)) }); len(names) > len(kept) || len(names) > 0 && names[0] != kept[0] {
			f.t.Errorf("%s has the bitmaps %q, want %q at most", image, names, kept)
		}
	}
	for target := range f.images {
		f.write(target, 30)
	}
}

func (f *trial) noOverlays() {
	f.t.Helper()
	xml := testguest.Virsh(f.t, "dumpxml", f.g.Name)
	for target, image := range f.images {
		if !strings.Contains(xml, "'"+image+"'") {
			f.t.Errorf("the image of %s is not %s any more", target, image)
		}
	}
	if strings.Contains(xml, overlaysSuffix) {
		f.t.Errorf("an overlay is left: %s", xml)
	}
}

func (f *trial) checkpoints(prefix string) []string {
	f.t.Helper()
	_, d := domainOf(f.t, f.g)
	names, err := ownCheckpoints(d, prefix)
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

// bitmaps are those of a running guest, by image.
func (f *trial) bitmaps() map[string][]string {
	f.t.Helper()
	var reply struct {
		Return []struct {
			File    string
			Drv     string
			Bitmaps []struct{ Name string } `json:"dirty-bitmaps"`
		}
	}
	out := testguest.Virsh(f.t, "qemu-monitor-command", f.g.Name, `{"execute":"query-named-block-nodes"}`)
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		f.t.Fatal(err)
	}
	found := map[string][]string{}
	for _, node := range reply.Return {
		for _, b := range node.Bitmaps {
			found[node.File] = append(found[node.File], b.Name)
		}
	}
	return found
}

// virsh runs a command on the guest.
func (f *trial) virsh(command string, args ...string) string {
	f.t.Helper()
	return testguest.Virsh(f.t, append([]string{command, f.g.Name}, args...)...)
}

// kill9 kills the guest's QEMU, as a crash of it does.
func (f *trial) kill9() {
	f.t.Helper()
	pid, err := os.ReadFile("/run/libvirt/qemu/" + f.g.Name + ".pid")
	if err != nil {
		f.t.Fatal(err)
	}
	shell(f.t, "kill", "-9", strings.TrimSpace(string(pid)))
	waitFor(f.t, "the guest to be off", func() bool { return f.g.State() == "shut off" })
}

// restart stops the guest as an orderly QEMU does, which stores bitmaps in the images, and starts it.
func (f *trial) restart() {
	f.t.Helper()
	f.g.Destroy()
	f.g.Start()
}

// attempt is a virsh command that may fail.
func (f *trial) attempt(args ...string) error {
	out, err := exec.Command("virsh", append([]string{"-q", "-c", uri}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
