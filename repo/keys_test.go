package repo_test

import (
	"errors"
	"testing"

	"vaultfs/repo"
)

func TestInitsAtOnceMakeOneRepository(t *testing.T) {
	for range 20 {
		st := newStore(t)
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				done <- repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap})
			}()
		}
		made := 0
		for range cap(done) {
			if err := <-done; err == nil {
				made++
			} else if !errors.Is(err, repo.ErrExists) {
				t.Error(err)
			}
		}
		if made != 1 {
			t.Errorf("%d of %d inits went well", made, cap(done))
		}
		r := reopen(t, st)
		keys, err := r.Keys(t.Context())
		if err != nil || len(keys) != 1 {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		checkExplained(t, st)
		r.Close()
	}
}

func TestInitRefusesWhatIsInUse(t *testing.T) {
	st := newStore(t)
	initRepo(t, st)
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("x"), Cost: cheap}); !errors.Is(err, repo.ErrExists) {
		t.Errorf("second init: %v", err)
	}
	r := reopen(t, st)
	defer r.Close()
	if _, err := r.AddKey(t.Context(), []byte("another"), ""); err != nil {
		t.Fatal(err)
	}
	if err := st.Delete(t.Context(), "config"); err != nil {
		t.Fatal(err)
	}
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("x"), Cost: cheap}); err == nil || len(objects(t, st)) != 3 {
		t.Errorf("init over a repository that lost its config: %v", err)
	}
}
