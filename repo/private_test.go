package repo_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/ingest"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// Nothing that was put in, and no name, ID or size of it, stands in a file of
// the repository in clear.
func TestNothingInClear(t *testing.T) {
	defer repo.SmallPacks()()
	const marker = "THE QUICK BROWN FOX OF THE GUEST"
	path := t.TempDir() + "/repository"
	st, err := store.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	password := []byte("a password to look for")
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: password, Label: "label-of-the-key", Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: password, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := newBackup("vm/secret-domain", 10)
	b.disk.data[5<<20] = bytes.Repeat([]byte(marker), 4096/len(marker)*3)
	b.nvram = []byte("<domain>secret-domain-xml</domain>")
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: b.source, Kind: "kind-of-vm", Machine: "4a9d71c2-machine"})
	if err != nil {
		t.Fatal(err)
	}
	// The lease is looked at while it is there.
	var ids [][]byte
	leases := readTree(t, path)
	root, err := ingest.CopyDisk(t.Context(), s, b.disk, new(ingest.Progress))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddItem(repo.Item{Name: "secret-disk-name", Kind: repo.ItemDisk, Size: b.disk.size, Root: root,
		Origin: repo.Origin{Path: "/secret/path.qcow2", Format: "format-of-the-image", Note: "secret-note"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddFile(t.Context(), "secret-file-name", bytes.NewReader(b.nvram)); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), repo.Info{Host: "secret-host", Program: "program-name", Mode: "mode-of-reading", Notes: []string{"secret-remark"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range snap.Items {
		ids = append(ids, it.Root[:])
	}
	ids = append(ids, repo.ChunkIDs(t.Context(), r)...)
	if len(ids) < 10 {
		t.Fatalf("only %d chunk IDs to look for", len(ids))
	}
	ids = append(ids, repo.SecretsOf(r)...)
	host, _ := os.Hostname()
	if len(host) < 24 { // as a lease has it: a short name alone may turn up by chance
		host = fmt.Sprintf("\x04%c%s\x05", 0x60+len(host), host)
	}
	words := []string{marker, "secret", "domain", string(password), "label-of-the-key", "kind-of-vm", "4a9d71c2", "format-of-the-image",
		"program-name", "mode-of-reading", "ingest ", host, fmt.Sprint(b.disk.size)}
	for name, content := range readTree(t, path) {
		leases[name] = append(leases[name], content...)
	}
	for name, content := range leases {
		for _, word := range words {
			if strings.Contains(name+string(content), word) {
				t.Errorf("%s holds %q", name, word)
			}
		}
		for _, id := range ids {
			if bytes.Contains(content, id) || strings.Contains(name+string(content), hex.EncodeToString(id)) {
				t.Errorf("%s holds an ID or a key", name)
			}
		}
	}
	checkModes(t, path)
	dirs, err := filepath.Glob(cache + "/*")
	if err != nil || len(dirs) != 1 {
		t.Fatalf("cache: %v, %v", dirs, err)
	}
	checkModes(t, dirs[0])
	for name, content := range readTree(t, dirs[0]) {
		for _, word := range words {
			if bytes.Contains(content, []byte(word)) {
				t.Errorf("cache file %s holds %q", name, word)
			}
		}
	}
}

// readTree returns every file below a directory.
func readTree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{"*", "*/*", "*/*/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if st, err := os.Stat(name); err != nil || st.IsDir() {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, name)
			files[rel] = b
		}
	}
	return files
}

// Backups of equal content by two repositories have nothing in common.
func TestTwoRepositoriesShareNoBytes(t *testing.T) {
	a, b := newVictim(t, "vm/a", 10), newVictim(t, "vm/a", 10)
	seen := map[string]string{}
	for name, content := range a.objects {
		for off := 0; off+32 <= len(content); off += 16 {
			seen[string(content[off:off+16])] = name
		}
	}
	for name, content := range b.objects {
		for off := 64; off+32 <= len(content); off++ {
			if at, ok := seen[string(content[off:off+16])]; ok && !bytes.Equal(content[off:off+16], make([]byte, 16)) {
				t.Fatalf("%s and %s share 16 bytes", name, at)
			}
		}
	}
}
