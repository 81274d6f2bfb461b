package restore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/ingest/vzdump"
	"vaultfs/repo"
	"vaultfs/restore"
)

const (
	archives = "../internal/vma/testdata/archives"
	genuine  = "vzdump-qemu-101-2026_11_20-03_00_01"
)

// commitGenuine stores genuine archives, of a VM and of a container.
func commitGenuine(t *testing.T, r *repo.Repo) (vm, container *repo.Snapshot) {
	t.Helper()
	paths := []string{filepath.Join(archives, genuine+".vma.zst"), filepath.Join(archives, "vzdump-lxc-105-2026_11_20-03_00_00.tar.zst")}
	made, err := vzdump.Ingest(t.Context(), r, paths, vzdump.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range made {
		if m.Snapshot.Source == "vzdump/101" {
			vm = m.Snapshot
		} else {
			container = m.Snapshot
		}
	}
	return vm, container
}

// checkGenuine takes an archive apart with a program that shares nothing with
// what made it, and compares what it holds with the manifest of the genuine one.
func checkGenuine(t *testing.T, archive string) {
	t.Helper()
	var want struct {
		VMA             struct{ Size int64 }
		Configs, Drives []struct{ Name, SHA256 string }
	}
	b, err := os.ReadFile(filepath.Join(archives, genuine+".manifest.json"))
	if err == nil {
		err = json.Unmarshal(b, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(archive); err != nil || info.Size() != want.VMA.Size || info.Mode() != 0o600 {
		t.Errorf("%v, %v; the genuine archive has %d bytes", info, err, want.VMA.Size)
	}
	dir := t.TempDir()
	mustRun(t, "perl", "../internal/vma/testdata/view-extract.pl", archive, dir)
	names := map[string]string{}
	for _, c := range want.Configs {
		names["config-"+c.Name] = c.SHA256
	}
	for _, d := range want.Drives {
		names[d.Name] = d.SHA256
	}
	for name, sum := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if got := sha256.Sum256(b); err != nil || hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s holds something else (%v)", name, err)
		}
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != len(names) || len(names) != 4 {
		t.Errorf("%d files, want %d (%v)", len(got), len(names), err)
	}
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, filepath.Join(dir, "repo"))
	vm, container := commitGenuine(t, r)
	if name, err := restore.ArchiveName(t.Context(), r, vm); err != nil || name != genuine+".vma" {
		t.Errorf("%q, %v", name, err)
	}
	out := mkdir(t, filepath.Join(dir, "out"))
	var p restore.Progress
	w, err := restore.WriteArchive(t.Context(), r, vm, out, restore.Options{Progress: &p})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(out, genuine+".vma")
	if *w != (restore.Written{Item: genuine + ".vma", Path: file, Format: restore.VMA, Size: w.Size, Data: w.Size}) {
		t.Errorf("%+v", w)
	}
	if p.Done.Load() != p.Total.Load() || p.Done.Load() != w.Size {
		t.Errorf("progress %d of %d", p.Done.Load(), p.Total.Load())
	}
	checkGenuine(t, file)
	mustHoldOnly(t, out, genuine+".vma")

	if _, err := restore.WriteArchive(t.Context(), r, vm, out, restore.Options{}); err == nil || !strings.Contains(err.Error(), "exists: choose another name") {
		t.Errorf("written over: %v", err)
	}
	named := filepath.Join(dir, "named.vma")
	if _, err := restore.WriteArchive(t.Context(), r, vm, named, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := restore.StreamArchive(t.Context(), r, vm, &b, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(named); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the stream is another than the file (%v)", err)
	}

	taken := mkdir(t, filepath.Join(dir, "taken"))
	cmd := exec.Command("perl", "../internal/vma/testdata/view-extract.pl", "-", taken) // in place of qmrestore - 101
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	mustHoldOnly(t, taken, "config-qemu-server.conf", "config-qemu-server.fw", "drive-efidisk0", "drive-scsi0")

	for _, snap := range []*repo.Snapshot{container, commit(t, r, map[string]image{"vda": disk})} {
		if name, err := restore.ArchiveName(t.Context(), r, snap); name != "" || err != nil {
			t.Errorf("%s has the archive %q, %v", snap.Source, name, err)
		}
		if _, err := restore.WriteArchive(t.Context(), r, snap, out, restore.Options{}); !errors.Is(err, restore.ErrNoArchive) {
			t.Errorf("%s: %v", snap.Source, err)
		}
	}
}

// What a stranger has written into the repository is no reason to follow it.
func TestArchiveOfWrongDescription(t *testing.T) {
	r := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	for description, want := range map[string]string{
		"{":              "archive.json: description of an archive: ",
		`{"version": 7}`: "it has version 7, this program knows 1",
		`{"version":1,"format":"vma","name":"../x.vma","uuid":"` + strings.Repeat("5a", 16) + `"}`:                                                      "holds a slash",
		`{"version":1,"format":"vma","name":"x.vma","uuid":"` + strings.Repeat("5a", 16) + `","configs":[{"name":"a","item":"gone"}]}`:                  `configuration file a: snapshot `,
		`{"version":1,"format":"vma","name":"x.vma","uuid":"` + strings.Repeat("5a", 16) + `","drives":[{"id":1,"name":"a","size":512,"item":"note"}]}`: "drive a (device 1): note: a file, not a disk",
		`{"version":1,"format":"vma","name":"x.vma","uuid":"` + strings.Repeat("5a", 16) + `","configs":[{"name":"a","item":"large"}]}`:                 "large has 70000 bytes, more than the 65535",
	} {
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vzdump/9", Kind: "vzdump"})
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"archive.json": description, "note": "x", "large": strings.Repeat("x", 70000)} {
			if _, err := s.AddFile(t.Context(), name, strings.NewReader(content)); err != nil {
				t.Fatal(err)
			}
		}
		snap, err := s.Commit(t.Context(), repo.Info{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := restore.Archive(t.Context(), r, snap); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}
