package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

func TestTwoRepositoriesInTurn(t *testing.T) {
	t.Parallel()
	f := newTrial(t)
	first := f.repo
	second := repoIn(t, t.TempDir())
	for round := range 3 {
		for i, r := range []string{"first", "second"} {
			f.repo = first
			if i == 1 {
				f.repo = second
			}
			f.write("vda", 2+round+i)
			var how []string
			if round == 0 {
				how = []string{"vda", "full: the first backup", "vdb", "full: the first backup"}
			}
			f.run(r, func() { f.clean(f.backup(how...)) })
		}
	}
	if names := f.checkpoints("vaultfs-"); len(names) != 2 {
		t.Errorf("checkpoints %q, want one of each repository", names)
	}
}

func TestRawDisksOnly(t *testing.T) {
	t.Parallel()
	f := newTrial(t, testguest.Disk{Format: "raw", Bus: "virtio", Size: "64M"}, testguest.Disk{Format: "raw", Bus: "virtio", Size: "32M"})
	for _, why := range []string{"full: the first backup", "full: no backup has made a checkpoint yet"} {
		f.write("vda", 2)
		result := f.backup("vda", why, "vdb", why)
		f.clean(result)
		if report := text(t, f.repo, result.Snapshot, "report.md"); len(result.Warnings) > 0 || !strings.Contains(report, "none: no disk has an image that keeps a dirty bitmap") {
			t.Errorf("warnings %q, report %s", result.Warnings, report)
		}
	}
}

// TestOldImages has a disk of the first version of qcow2 ("compat=0.10"), which keeps no bitmaps, beside a newer one, and
// alone.
func TestOldImages(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{NoAgent: true, Disks: qcow2Disks})
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", g.Paths[0], "64M")
	fill(t, g.Paths[0])
	fill(t, g.Paths[1])
	g.Start()
	f := trialOf(t, g)
	f.images["vda"], f.images["vdb"] = g.Paths[0], g.Paths[1]
	const old = "full: its image is qcow2 of version 2"
	f.run("beside another", func() {
		f.clean(f.backup("vda", "full: the first backup", "vdb", "full: the first backup"))
		f.write("vda", 2)
		f.write("vdb", 2)
		f.clean(f.backup("vda", old))
	})
	f.run("alone", func() {
		f.virsh("detach-disk", "vdb", "--config")
		f.restart()
		delete(f.images, "vdb")
		result := f.backup("vda", old)
		f.clean(result)
		if result.Checkpoint != "" || len(result.Warnings) > 0 {
			t.Errorf("checkpoint %q, warnings %q", result.Checkpoint, result.Warnings)
		}
	})
}

// TestInternalSnapshots has a user take a snapshot inside the images, and go back to it. QEMU does not go back while an
// image has a dirty bitmap, so there must be none.
func TestInternalSnapshots(t *testing.T) {
	t.Parallel()
	f := newTrial(t)
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	if err := f.attempt("snapshot-create-as", f.g.Name, "mine"); err != nil {
		t.Fatal(err)
	}
	f.write("vda", 2)
	result := f.backup()
	f.clean(result)
	if result.Checkpoint != "" || len(f.checkpoints("vaultfs-")) > 0 || !strings.Contains(text(t, f.repo, result.Snapshot, "report.md"), "none: the VM has internal snapshots") {
		t.Errorf("checkpoint %q", result.Checkpoint)
	}
	f.virsh("snapshot-revert", "mine")
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	f.virsh("snapshot-delete", "mine")
	f.clean(f.backup("vda", "full: ", "vdb", "full: "))
	f.write("vda", 3)
	f.clean(f.backup())
}

// TestRenamedGuest is another source: the checkpoint of the old one is not taken for its own, nor away from it.
func TestRenamedGuest(t *testing.T) {
	t.Parallel()
	f := newTrial(t)
	old := f.backup("vda", "full: the first backup", "vdb", "full: the first backup").Checkpoint
	f.g.Destroy()
	name := f.g.Name + "-renamed"
	testguest.Virsh(t, "domrename", f.g.Name, name)
	f.g = testguest.Adopt(t, name)
	f.g.Start()
	for _, how := range []string{"full: the first backup", incrementally} {
		f.write("vda", 2)
		result := f.backup("vda", how, "vdb", how)
		wantState(t, f.g, "running")
		wantNothingLeft(t, f.state)
		if names := f.checkpoints("vaultfs-"); len(names) != 2 || !slices.Contains(names, old) || !slices.Contains(names, result.Checkpoint) {
			t.Errorf("checkpoints %q, want %s of the old name and %s", names, old, result.Checkpoint)
		}
	}
}

// TestAnotherGuestOfTheSameName is not taken for the one that was backed up.
func TestAnotherGuestOfTheSameName(t *testing.T) {
	t.Parallel()
	f := newTrial(t)
	f.clean(f.backup("vda", "full: the first backup", "vdb", "full: the first backup"))
	f.g.Destroy()
	xml := filepath.Join(f.g.Dir, "other.xml")
	text := f.virsh("dumpxml")
	text = text[:strings.Index(text, "<uuid>")] + text[strings.Index(text, "</uuid>")+len("</uuid>"):]
	if err := os.WriteFile(xml, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.virsh("undefine", "--checkpoints-metadata")
	testguest.Virsh(t, "define", xml)
	f.g.Start()
	f.fails("", nil, "vm/"+f.g.Name, "--adopt")
	o := f.options()
	o.Adopt = true
	f.clean(f.backupTo(f.repo, o))
	f.clean(f.backup())
}
