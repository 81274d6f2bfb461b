// Package testrepo makes repositories for tests.
package testrepo

import (
	"context"
	"path/filepath"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// New makes an encrypted repository that verifies itself, every byte of it,
// when the test is over.
func New(t testing.TB) *repo.Repo {
	t.Helper()
	return In(t, filepath.Join(t.TempDir(), "repo"))
}

// In is New in a directory that is to be made.
func In(t testing.TB, dir string) *repo.Repo {
	t.Helper()
	st, err := store.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	password := []byte("secret")
	cheap := seal.KDF{Memory: 64, Time: 1, Threads: 1}
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: password, Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: password, Warn: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		result, err := r.Verify(context.Background(), repo.VerifyOptions{ReadData: true})
		if err != nil {
			t.Errorf("verify: %v", err)
		} else {
			for _, f := range result.Findings {
				t.Errorf("verify: %s: %v", f.Object, f.Err)
			}
		}
		r.Close()
		st.Close()
	})
	return r
}
