package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// between is what happens to a guest between two backups, and how the second one reads its disks.
type between struct {
	name string
	do   func(f *trial)
	how  []string // disk, how it is read; those that are not named: incrementally
}

const (
	incrementally = "incremental from"
	noBitmap      = "full: its dirty bitmap is broken or missing"
)

var bitmapFaults = []between{
	{
		name: "bitmap removed from a running guest",
		do: func(f *trial) {
			f.virsh("qemu-monitor-command", fmt.Sprintf(`{"execute":"block-dirty-bitmap-remove","arguments":{"node":"libvirt-2-format","name":%q}}`, f.kept()))
		},
		how: []string{"vda", noBitmap},
	},
	{
		name: "bitmap removed from an image",
		do: func(f *trial) {
			f.g.Destroy()
			shell(f.t, "qemu-img", "bitmap", "--remove", f.images["vda"], f.kept())
			f.g.Start()
		},
		how: []string{"vda", noBitmap},
	},
	{
		name: "QEMU killed",
		do:   func(f *trial) { f.kill9(); f.g.Start() },
		how:  []string{"vda", noBitmap, "vdb", noBitmap},
	},
	{
		name: "QEMU killed with its bitmaps in the images",
		do:   func(f *trial) { f.restart(); f.write("vda", 12); f.kill9(); f.g.Start() },
		how:  []string{"vda", noBitmap, "vdb", noBitmap},
	},
	{
		name: "guest restarted",
		do:   func(f *trial) { f.restart() },
	},
}

var checkpointFaults = []between{
	{
		name: "checkpoint deleted",
		do:   func(f *trial) { f.virsh("checkpoint-delete", f.kept()) },
		how:  []string{"vda", "full: its checkpoint is gone", "vdb", "full: its checkpoint is gone"},
	},
	{
		name: "checkpoint's metadata deleted",
		do:   func(f *trial) { f.virsh("checkpoint-delete", f.kept(), "--metadata") },
	},
	{
		name: "checkpoint's metadata and a bitmap deleted",
		do: func(f *trial) {
			name := f.kept()
			f.virsh("checkpoint-delete", name, "--metadata")
			f.g.Destroy()
			shell(f.t, "qemu-img", "bitmap", "--remove", f.images["vda"], name)
			f.g.Start()
		},
		how: []string{"vda", "full: its dirty bitmap is missing"},
	},
	{
		name: "checkpoint of another program beside ours",
		do: func(f *trial) {
			f.foreignCheckpoint("theirs")
			f.write("vda", 13)
		},
	},
	{
		name: "checkpoint deleted beside that of another program",
		do:   func(f *trial) { f.virsh("checkpoint-delete", f.kept()) },
		how:  []string{"vda", "full: its checkpoint is gone", "vdb", "full: its checkpoint is gone"},
	},
	{
		name: "VM undefined and defined again",
		do: func(f *trial) {
			f.virsh("checkpoint-delete", "theirs")
			f.foreign = nil
			f.g.Destroy()
			xml := filepath.Join(f.g.Dir, "again.xml")
			if err := os.WriteFile(xml, []byte(f.virsh("dumpxml")), 0o600); err != nil {
				f.t.Fatal(err)
			}
			f.virsh("undefine", "--checkpoints-metadata")
			testguest.Virsh(f.t, "define", xml)
			f.g.Start()
		},
	},
	{
		name: "backup of the guest shut off in between",
		do: func(f *trial) {
			f.g.Destroy()
			f.usual = "shut off"
			f.clean(f.backup())
			f.usual = "running"
			f.g.Start()
		},
	},
}

var diskFaults = []between{
	{
		name: "disk added",
		do: func(f *trial) {
			path := f.newImage("vdc", "32M")
			f.virsh("attach-disk", "--source", path, "--target", "vdc", "--subdriver", "qcow2", "--live", "--config")
			f.images["vdc"] = path
		},
		how: []string{"vdc", "full: the disk is new"},
	},
	{
		name: "disk resized while the guest runs",
		do:   func(f *trial) { f.virsh("blockresize", "vdb", "48M") },
		how:  []string{"vdb", "full: the disk was resized from 33554432 to 50331648 bytes"},
	},
	{
		name: "disk resized while the guest is off",
		do: func(f *trial) {
			f.g.Destroy()
			shell(f.t, "qemu-img", "resize", f.images["vdb"], "64M")
			f.g.Start()
		},
		how: []string{"vdb", "full: the disk was resized from 50331648 to 67108864 bytes"},
	},
	{
		name: "disk replaced by another file",
		do: func(f *trial) {
			f.virsh("detach-disk", "vdb", "--config")
			path := f.newImage("other", "64M")
			f.virsh("attach-disk", "--source", path, "--target", "vdb", "--subdriver", "qcow2", "--config")
			f.images["vdb"] = path
			f.restart()
		},
		how: []string{"vdb", "full: the disk was replaced, it was "},
	},
	{
		name: "image replaced by another of the same name",
		do: func(f *trial) {
			f.g.Destroy()
			rename(f.t, f.newImage("another", "64M"), f.images["vdb"])
			f.g.Start()
		},
		how: []string{"vdb", noBitmap},
	},
	{
		name: "image set back to an older copy",
		do: func(f *trial) {
			f.g.Destroy()
			old := f.images["vdb"] + ".old"
			shell(f.t, "cp", f.images["vdb"], old)
			f.g.Start()
			f.write("vdb", 9)
			f.clean(f.backup())
			f.g.Destroy()
			rename(f.t, old, f.images["vdb"])
			f.g.Start()
		},
		how: []string{"vdb", noBitmap},
	},
	{
		name: "disk detached",
		do: func(f *trial) {
			// The firmware answers no request to let go of a disk.
			f.virsh("detach-disk", "vdb", "--config")
			f.restart()
			delete(f.images, "vdb")
		},
	},
}

func TestFaultsOfBitmaps(t *testing.T)     { testBetween(t, bitmapFaults) }
func TestFaultsOfCheckpoints(t *testing.T) { testBetween(t, checkpointFaults) }
func TestFaultsOfDisks(t *testing.T)       { testBetween(t, diskFaults) }

// testBetween backs one guest up again and again: after each of the things that happen to it, and then after some writes
// only, which must be an incremental backup again.
func testBetween(t *testing.T, list []between) {
	t.Parallel()
	f := newTrial(t)
	f.clean(f.backup("vda", "full: the first backup", "vdb", "full: the first backup"))
	for _, c := range list {
		if !f.run(c.name, func() {
			f.write("vda", 2)
			c.do(f)
			f.clean(f.backup(c.how...))
			f.write("vda", 4)
			f.write("vda", 40)
			f.clean(f.backup())
			f.foreignStays()
		}) {
			return // what follows has nothing to build on
		}
	}
}

// kept is the checkpoint that the last backup has left.
func (f *trial) kept() string {
	f.t.Helper()
	names := f.checkpoints(checkpointPrefix(f.repo))
	if len(names) != 1 {
		f.t.Fatalf("checkpoints %q", names)
	}
	return names[0]
}

// foreignCheckpoint makes one that is not vaultfs's.
func (f *trial) foreignCheckpoint(name string) {
	f.t.Helper()
	f.virsh("checkpoint-create-as", name)
	f.foreign = append(f.foreign, name)
}

// foreignStays fails if a foreign checkpoint is not there with a bitmap in each disk.
func (f *trial) foreignStays() {
	f.t.Helper()
	if names := f.checkpoints(""); !slices.Equal(without(names, "vaultfs-"), f.foreign) {
		f.t.Errorf("checkpoints %q, want %q besides ours", names, f.foreign)
	}
	for _, name := range f.foreign {
		xml := testguest.Virsh(f.t, "checkpoint-dumpxml", f.g.Name, name, "--size", "--no-domain")
		if sizes := strings.Count(xml, " size="); sizes != len(f.images) {
			f.t.Errorf("checkpoint %s of %d disks has %d bitmaps: %s", name, len(f.images), sizes, xml)
		}
	}
}

func without(names []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.HasPrefix(n, prefix) })
}

// newImage makes a qcow2 image for the guest.
func (f *trial) newImage(name, size string) string {
	f.t.Helper()
	path := filepath.Join(f.g.Dir, name+".qcow2")
	shell(f.t, "qemu-img", "create", "-q", "-f", "qcow2", path, size)
	shell(f.t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x77 2M 3M", path)
	return path
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
