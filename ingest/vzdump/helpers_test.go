package vzdump

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"vaultfs/internal/vma"
	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childRepo); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// archives is where the genuine archives lie, and those made of them.
const archives = "../../internal/vma/testdata/archives"

// run runs a command that must succeed.
func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	var errs bytes.Buffer
	c := exec.Command(name, args...)
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.String())
	}
	return out
}

// newRepo makes a repository that verifies itself when the test is over.
func newRepo(t testing.TB) *repo.Repo {
	t.Helper()
	r := openRepo(t, makeRepo(t))
	t.Cleanup(func() {
		result, err := r.Verify(context.Background(), repo.VerifyOptions{ReadData: true})
		if err != nil {
			t.Errorf("verify: %v", err)
			return
		}
		for _, f := range result.Findings {
			t.Errorf("verify: %s: %v", f.Object, f.Err)
		}
	})
	return r
}

// password of the repositories of tests.
const password = "secret"

// makeRepo makes a repository and returns its directory.
func makeRepo(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	st, err := store.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	cost := seal.KDF{Memory: 64, Time: 1, Threads: 1}
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte(password), Cost: cost}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openRepo(t testing.TB, dir string) *repo.Repo {
	t.Helper()
	st, err := store.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte(password), Warn: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); st.Close() })
	return r
}

// options are those of most tests.
func options(t testing.TB) Options {
	return Options{StateDir: t.TempDir(), Warn: func(s string) { t.Log(s) }}
}

// ingestOne makes one snapshot.
func ingestOne(t testing.TB, r *repo.Repo, path string, o Options) *repo.Snapshot {
	t.Helper()
	made, err := Ingest(t.Context(), r, []string{path}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 1 || len(made[0].Warnings) > 0 {
		t.Fatalf("made %+v", made)
	}
	return made[0].Snapshot
}

// mustFail wants an error that says something, and nothing committed.
func mustFail(t testing.TB, r *repo.Repo, path string, o Options) error {
	t.Helper()
	before, _ := r.Snapshots(t.Context())
	made, err := Ingest(t.Context(), r, []string{path}, o)
	if err == nil || len(made) > 0 {
		t.Fatalf("%q: made %d snapshots, %v", path, len(made), err)
	}
	after, listErr := r.Snapshots(t.Context())
	if listErr != nil || len(after) != len(before) {
		t.Fatalf("%q: %d snapshots after a failure, %d before, %v", path, len(after), len(before), listErr)
	}
	return err
}

// item finds an item of a snapshot.
func item(t testing.TB, s *repo.Snapshot, name string) repo.Item {
	t.Helper()
	for _, it := range s.Items {
		if it.Name == name {
			return it
		}
	}
	t.Fatalf("%s has no item %q: %+v", s.Source, name, s.Items)
	return repo.Item{}
}

// stored reads an item back.
func stored(t testing.TB, r *repo.Repo, it repo.Item) []byte {
	t.Helper()
	var in io.ReaderAt
	var err error
	if it.Kind == repo.ItemDisk {
		in, err = r.OpenDisk(t.Context(), it)
	} else {
		in, err = r.OpenFile(t.Context(), it)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(io.NewSectionReader(in, 0, it.Size))
	if err != nil || int64(len(p)) != it.Size {
		t.Fatalf("%d of %d bytes of %s: %v", len(p), it.Size, it.Name, err)
	}
	return p
}

// describes reads what a snapshot keeps of its archive.
func describes(t testing.TB, r *repo.Repo, s *repo.Snapshot) *vma.Description {
	t.Helper()
	d, err := vma.DecodeDescription(stored(t, r, item(t, s, vma.DescriptionItem)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// same compares the drives of an archive with what is stored of it.
func same(t testing.TB, r *repo.Repo, s *repo.Snapshot, m *made) {
	t.Helper()
	for _, d := range m.drives {
		disk, err := r.OpenDisk(t.Context(), item(t, s, d.name))
		if err != nil {
			t.Fatal(err)
		}
		if disk.Size() != d.size {
			t.Errorf("%s has %d bytes, want %d", d.name, disk.Size(), d.size)
		}
		got, zeros := make([]byte, vma.ClusterSize), make([]byte, vma.ClusterSize)
		for c := range d.clusters() {
			n := min(vma.ClusterSize, d.size-c*vma.ClusterSize)
			if _, err := disk.ReadAt(got[:n], c*vma.ClusterSize); err != nil {
				t.Fatal(err)
			}
			want := d.at(c)
			if want == nil {
				want = zeros
			}
			if !bytes.Equal(got[:n], want[:n]) {
				t.Fatalf("cluster %d of %s differs", c, d.name)
			}
		}
	}
}

func hexSum(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// wants looks for parts of an error's text.
func wants(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not tell %q", err, part)
		}
	}
}
