package repo_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

// For what cannot be undone a time means a snapshot of that time, and only one.
func TestResolveExact(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	var made []*repo.Snapshot
	for _, hour := range []int{2, 48 + 2, 48 + 14} {
		made = append(made, ingestAt(t, r, "vm/a", time.Date(2026, 5, 1, hour, 0, 0, 0, time.Local)))
	}
	for ref, want := range map[string]*repo.Snapshot{
		"vm/a": made[2], "vm/a@latest": made[2], made[0].ID[:12]: made[0], strings.ToUpper(made[1].ID): made[1],
		"vm/a@2026-05-01": made[0], "vm/a@" + made[1].Time.Format("2006-01-02T15-04-05Z"): made[1], "vm/a@2026-05-03T14:00:00": made[2],
	} {
		if got, err := r.ResolveExact(t.Context(), ref); err != nil || got.ID != want.ID {
			t.Errorf("%s: %v (%v)", ref, got, err)
		}
	}
	for ref, want := range map[string]error{
		"vm/a@2026-05-02": repo.ErrNotFound, "vm/a@2026-05-03": repo.ErrAmbiguous, "vm/a@2026-05-03T14:00:01": repo.ErrNotFound,
		"vm/a@1999-01-01": repo.ErrNotFound, "vm/b": repo.ErrNotFound, "": repo.ErrNotFound,
	} {
		if got, err := r.ResolveExact(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("%s: %v (%v), want %v", ref, got, err, want)
		}
	}
	if err := r.Forget(t.Context(), repo.ForgotByName, made[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ResolveExact(t.Context(), "vm/a@2026-05-01"); !errors.Is(err, repo.ErrNotFound) || !strings.Contains(err.Error(), "was forgotten") {
		t.Errorf("a forgotten one: %v", err)
	}
}
