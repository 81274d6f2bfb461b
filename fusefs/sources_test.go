package fusefs

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// pathsOf lists all directories of a tree of sources, and what latest is.
func pathsOf(d *sourceDir) (all []string) {
	for _, s := range d.snapshots {
		all = append(all, s.path+" "+s.ID)
	}
	if d.latest != nil {
		all = append(all, join(d.path, "latest")+" "+d.latest.name)
	}
	for _, sub := range d.dirs {
		all = append(all, pathsOf(sub)...)
	}
	slices.Sort(all)
	return all
}

func TestArrange(t *testing.T) {
	at := func(source string, seq uint64, id string, t time.Time) *repo.Snapshot {
		return &repo.Snapshot{ID: id, Source: source, Seq: seq, Time: t}
	}
	snapshots := []*repo.Snapshot{
		at("vm/a", 1, "1", noon),
		at("vm/a", 2, "2", noon.Add(time.Second/2)),
		at("vm/a", 3, "3", noon.Add(time.Second/3)),
		at("vm/a", 4, "4", noon.Add(-time.Hour)), // a clock that went back
		at("vm/a/b", 1, "5", noon),
		at("vm/a/latest", 1, "6", noon),
		at("../..//x", 1, "7", noon),
	}
	want := []string{
		"%2E./%2E./%/x/2026-11-21T12-00-00Z 7",
		"%2E./%2E./%/x/latest 2026-11-21T12-00-00Z",
		"vm/a/%6Catest/2026-11-21T12-00-00Z 6",
		"vm/a/%6Catest/latest 2026-11-21T12-00-00Z",
		"vm/a/2026-11-21T11-00-00Z 4",
		"vm/a/2026-11-21T12-00-00Z 1",
		"vm/a/2026-11-21T12-00-00Z-2 2",
		"vm/a/2026-11-21T12-00-00Z-3 3",
		"vm/a/b/2026-11-21T12-00-00Z 5",
		"vm/a/b/latest 2026-11-21T12-00-00Z",
		"vm/a/latest 2026-11-21T11-00-00Z",
	}
	for range 10 {
		rand.Shuffle(len(snapshots), func(i, j int) { snapshots[i], snapshots[j] = snapshots[j], snapshots[i] })
		root := arrange(snapshots)
		if got := pathsOf(root); !slices.Equal(got, want) {
			t.Fatalf("got\n%s", strings.Join(got, "\n"))
		}
		if d := root.at("vm/a/b"); d == nil || !d.time.Equal(noon) {
			t.Fatalf("vm/a/b is %v", d)
		}
		if root.at("vm/c/d") != nil || root.at("") != root {
			t.Fatal("at finds the wrong directory")
		}
	}
}

func TestLayOut(t *testing.T) {
	s := &repo.Snapshot{}
	for _, name := range []string{"vda", "x/../y", "vdb.raw"} {
		s.Items = append(s.Items, repo.Item{Name: name, Kind: repo.ItemDisk})
	}
	for _, name := range []string{"domain.xml", "tpm", "tpm/a/b", "../../etc/passwd", "disks", "disks/vda.raw"} {
		s.Items = append(s.Items, repo.Item{Name: name, Kind: repo.ItemFile})
	}
	files := map[string]string{}
	var walk func(e *entry)
	walk = func(e *entry) {
		if e.form != directory {
			files[e.path] = e.item.Name
		}
		for _, name := range e.names {
			walk(e.children[name])
		}
	}
	walk(layOut(s))
	want := map[string]string{
		"disks/vda.qcow2": "vda", "disks/vda.raw": "vda",
		"disks/x%2F..%2Fy.qcow2": "x/../y", "disks/x%2F..%2Fy.raw": "x/../y",
		"disks/vdb.raw.qcow2": "vdb.raw", "disks/vdb.raw.raw": "vdb.raw",
		"domain.xml": "domain.xml", "tpm": "tpm", "tpm-2/a/b": "tpm/a/b",
		"%2E./%2E./etc/passwd": "../../etc/passwd",
		"%64isks":              "disks", "%64isks-2/vda.raw": "disks/vda.raw",
	}
	if !maps.Equal(files, want) {
		t.Errorf("got %q", files)
	}
}
