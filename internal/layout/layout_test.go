// Package layout holds the project to its rooms: who may import whom, and
// which package is the one door to each outside library.
package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "vaultfs/"

// may lists what of ours each package may import. Data flows one way, so
// imports point up this table only.
var may = map[string][]string{
	"chunk":                {},
	"repo/store":           {},
	"repo/seal":            {},
	"repo/format":          {"chunk", "repo/seal"},
	"repo/index":           {"chunk", "repo/seal", "repo/format"},
	"repo":                 {"chunk", "repo/store", "repo/seal", "repo/format", "repo/index"},
	"internal/nbd":         {},
	"internal/nbd/qemunbd": {"internal/nbd"},
	"internal/bitset":      {},
	"internal/qcow2":       {"internal/bitset"},
	"internal/paths":       {},
	"internal/virt":        {},
	"internal/decompress":  {},
	"internal/vma":         {"internal/bitset"},
	"internal/pg":          {},
	"internal/pgarchive":   {},
	"internal/acl":         {},
	"internal/retention":   {},
	"ingest":               {"chunk", "repo", "internal/nbd"},
	"ingest/disk":          {"chunk", "repo", "ingest", "internal/nbd", "internal/nbd/qemunbd"},
	"ingest/tree":          {"repo", "ingest", "internal/paths"},
	"ingest/rsync":         {"repo", "ingest", "ingest/tree"},
	"ingest/tar":           {"repo", "ingest", "internal/decompress", "internal/acl"},
	"ingest/stdin":         {"repo", "ingest"},
	"ingest/vzdump":        {"chunk", "repo", "ingest", "ingest/tar", "internal/decompress", "internal/vma"},
	"ingest/postgres":      {"repo", "ingest", "internal/decompress", "internal/pg", "internal/pgarchive"},
	"ingest/vm":            {"chunk", "repo", "ingest", "ingest/disk", "internal/nbd", "internal/nbd/qemunbd", "internal/virt"},
	"restore":              {"repo", "internal/qcow2", "internal/vma"},
	"restore/tree":         {"repo", "restore"},
	"restore/tar":          {"repo", "restore", "internal/acl"},
	"restore/postgres":     {"repo", "restore", "internal/pg"},
	"restore/vm":           {"repo", "restore", "internal/virt"},
	"internal/measure":     {"chunk", "repo", "repo/format", "repo/seal", "ingest"},
	"fusefs":               {"repo", "internal/qcow2", "internal/vma", "internal/paths"},
	"internal/testguest":   {},
	"internal/testpg":      {},
	"internal/testtree":    {},
	"internal/testrepo":    {"repo", "repo/seal", "repo/store"},
	"internal/layout":      {},
	"bench":                {"chunk", "repo", "repo/seal", "repo/store", "ingest"},
	"bench/bigrepo":        {"bench", "repo", "repo/store"},
	"bench/prune":          {"bench", "bench/peers"},
	"bench/bare":           {"chunk", "repo/format", "repo/seal"},
	"bench/data":           {"bench"},
	"bench/guest":          {"bench"},
	"bench/increment":      {"bench", "repo", "ingest", "internal/nbd", "internal/nbd/qemunbd"},
	"bench/peers":          {"bench"},
	"bench/plot":           {},
	"bench/read":           {},
	"bench/report":         {"bench/plot"},
	"bench/compare":        {"bench", "bench/bare", "bench/data", "bench/guest", "bench/increment", "bench/peers", "bench/read", "bench/report", "repo", "repo/store"},
	"cmd/vaultfs": {"repo", "repo/store", "repo/seal", "ingest", "ingest/disk", "ingest/vm", "ingest/tree", "ingest/rsync", "ingest/tar",
		"ingest/stdin", "ingest/vzdump", "ingest/postgres", "fusefs", "restore", "restore/vm", "restore/tree", "restore/tar", "restore/postgres", "internal/measure", "internal/paths", "internal/retention"},
}

// doors lists who may import an outside library. What is not named here is
// free to all.
var doors = map[string][]string{
	"github.com/restic/chunker":     {"chunk"},
	"github.com/minio/highwayhash":  {"chunk"},
	"github.com/klauspost/compress": {"repo/format", "internal/decompress"},
	"github.com/DataDog/zstd":       {"repo/format"},
	"github.com/anchore/go-lzo":     {"internal/decompress"},
	"github.com/hanwen/go-fuse":     {"fusefs"},
	"github.com/beevik/etree":       {"restore/vm"},
	"libvirt.org/go":                {"ingest/vm", "restore/vm", "internal/virt"},
	"github.com/spf13":              {"cmd/vaultfs"},
	"github.com/jedib0t":            {"cmd/vaultfs"},
	"golang.org/x/term":             {"cmd/vaultfs"},
	"golang.org/x/crypto":           {"repo/seal"},
	"github.com/fxamacker/cbor":     {"repo/seal", "repo/format", "repo/index"},
	"github.com/zeebo/blake3":       {"chunk", "repo", "repo/seal", "repo/format", "repo/index"},
	"github.com/rogpeppe":           {},
	"pgregory.net/rapid":            {},
	"go.uber.org/goleak":            {},
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

// packages lists the packages of the module, without their tests.
func packages(t *testing.T) (list []listed) {
	t.Helper()
	out, err := exec.Command("go", "list", "-tags", "libvirt_dlopen", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportsPointUp(t *testing.T) {
	list := packages(t)
	if len(list) < len(may) {
		t.Errorf("%d packages, %d in the table", len(list), len(may))
	}
	for _, p := range list {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := may[name]
		if !known {
			t.Errorf("%s is not in the table of rooms", name)
			continue
		}
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
		}
	}
}

func TestEveryLibraryHasItsDoor(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			for library, may := range doors {
				if (i == library || strings.HasPrefix(i, library+"/")) && !slices.Contains(may, name) {
					t.Errorf("%s imports %s, which is for %v", name, i, may)
				}
			}
		}
	}
}

// Printing and exiting belong to command lines alone, those of bench are small.
// fusefs gives go-fuse a logger, for go-fuse takes one.
func TestLibrariesDoNotPrint(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, module+"cmd/") || strings.HasPrefix(p.ImportPath, module+"bench/") || p.ImportPath == module+"fusefs" {
			continue
		}
		if slices.Contains(p.Imports, "log") || slices.Contains(p.Imports, "flag") {
			t.Errorf("%s imports log or flag", p.ImportPath)
		}
	}
}
