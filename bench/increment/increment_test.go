package increment

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"vaultfs/ingest/disk"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

func TestMeasure(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	d := &Disk{Repo: newRepo(t, filepath.Join(dir, "repo")), Source: "disk/a", Raw: filepath.Join(dir, "a.raw"), Work: dir}
	content := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{3}).Read(content)
	if err := os.WriteFile(d.Raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Ingest(ctx, d.Repo, []string{d.Raw}, disk.Options{Name: "a", Format: "raw"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c, err := d.Measure(ctx, 0.1, true)
		if err != nil {
			t.Fatal(err)
		}
		// Places are drawn at random, some twice.
		if c.Dirty < int64(len(content))/20 || c.Dirty > int64(len(content))/10 || c.Dirty%writeSize != 0 {
			t.Errorf("%d bytes are dirty", c.Dirty)
		}
		if c.FullLooked != int64(len(content)) || c.Increment <= 0 || c.Full <= 0 {
			t.Errorf("%+v", c)
		}
		sameDisk(ctx, t, d.Repo)
	}
}

// sameDisk compares the two newest snapshots: by the bitmap, and of the whole.
func sameDisk(ctx context.Context, t *testing.T, r *repo.Repo) {
	t.Helper()
	list, err := r.Snapshots(ctx)
	if err != nil || len(list) < 3 {
		t.Fatalf("%d snapshots, %v", len(list), err)
	}
	roots := map[string]int{}
	for _, s := range list {
		roots[s.Items[0].Root.String()]++
	}
	if want := (len(list) + 1) / 2; len(roots) != want {
		t.Errorf("%d snapshots of %d different disks, want %d", len(list), len(roots), want)
	}
}

func newRepo(t *testing.T, dir string) *repo.Repo {
	st, err := store.Create(dir)
	if err == nil {
		err = repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("x")})
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); st.Close() })
	return r
}
