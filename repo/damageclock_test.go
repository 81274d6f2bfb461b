package repo_test

import (
	"sync/atomic"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A clock that is a year off, either way, at whatever moment, displaces no
// snapshot, frees nothing that is needed, and keeps nothing that is not.
func TestClockMovedByAYear(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	const year = 365 * 24 * time.Hour
	for what, jump := range map[string]time.Duration{"ahead": year, "back": -year} {
		t.Run(what, func(t *testing.T) {
			var off atomic.Int64
			defer repo.SetClock(func() time.Time { return time.Now().Add(time.Duration(off.Load())) })()
			to := func(d time.Duration) { off.Store(int64(d)) }
			flip := func() { to(jump - time.Duration(off.Load())) }
			m := store.NewMem()
			st := memStore(t, m)
			initRepo(t, st)
			r := reopen(t, st)
			defer r.Close()

			// Between backups: each goes on from the one before it.
			b := newBackup("vm/a", 10)
			states := []backup{b, b.changed(60), b.changed(160)}
			var made []*repo.Snapshot
			for i, state := range states {
				to([]time.Duration{0, jump, 0}[i])
				var base *repo.Snapshot
				var old backup
				if i > 0 {
					base, old = made[i-1], states[i-1]
				}
				s, full, err := state.increment(t.Context(), r, base, old)
				if err != nil || i > 0 && full != nil {
					t.Fatalf("backup %d: %v, not from the one before: %v", i, err, full)
				}
				if s.Seq != uint64(i+1) || i > 0 && s.Previous != made[i-1].ID {
					t.Errorf("backup %d is number %d after %q", i, s.Seq, s.Previous)
				}
				made = append(made, s)
			}
			if s, err := r.Resolve(t.Context(), "vm/a@latest"); err != nil || s.ID != made[2].ID {
				t.Errorf("the latest is %v, %v", s, err)
			}

			// A session whose lease tells of another year is waited for, not ended.
			to(jump)
			w, err := reopen(t, memStore(t, m)).NewSession(t.Context(), repo.SessionOptions{Source: "vm/b", Kind: "vm", Verify: true})
			if err != nil {
				t.Fatal(err)
			}
			c := newBackup("vm/b", 400)
			root, err := c.disk.store(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}

			// While snapshots are forgotten and collected.
			if err := r.Forget(t.Context(), repo.ForgotByName, made[0]); err != nil {
				t.Fatal(err)
			}
			to(0)
			if _, err := r.GC(t.Context(), repo.GCOptions{MaxRewrite: -1, Progress: func(repo.GCProgress) { flip() }}); err != nil {
				t.Fatal(err)
			}
			to(0)
			other, err := c.commit(t.Context(), w, root)
			if err != nil {
				t.Fatalf("the session that went on beside: %v", err)
			}
			c.mustRead(t, r, other)
			for i := 1; i < 3; i++ {
				states[i].mustRead(t, r, made[i])
			}

			// While it is verified; and what a dead process left is cleared away.
			to(jump)
			if _, err := reopen(t, memStore(t, m)).NewSession(t.Context(), repo.SessionOptions{Source: "vm/c", Kind: "vm"}); err != nil {
				t.Fatal(err)
			}
			to(0)
			left := memStore(t, m.Kill())
			after := reopen(t, left)
			defer after.Close()
			if err := after.Forget(t.Context(), repo.ForgotByName, other); err != nil {
				t.Fatal(err)
			}
			if _, err := after.GC(t.Context(), repo.GCOptions{MaxRewrite: -1, Progress: func(repo.GCProgress) { flip() }}); err != nil {
				t.Fatal(err)
			}
			result, err := after.Verify(t.Context(), repo.VerifyOptions{ReadData: true, Progress: func(int64, int64) { flip() }})
			if err != nil || len(result.Findings) > 0 || result.Unlisted > 0 {
				t.Errorf("verify: %+v, %v", result, err)
			}
			if sessions, err := after.Sessions(t.Context()); err != nil || len(sessions) > 0 {
				t.Errorf("left are the sessions %v, %v", sessions, err)
			}
			if all := mustSnapshots(t, after); len(all) != 2 {
				t.Errorf("%d snapshots are listed", len(all))
			}
		})
	}
}
