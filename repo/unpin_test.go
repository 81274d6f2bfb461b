package repo_test

import (
	"errors"
	"testing"

	"vaultfs/repo"
)

// A mount gives up what was forgotten, and goes on holding the rest.
func TestPinRemove(t *testing.T) {
	r := newRepo(t, newStore(t))
	var all []*repo.Snapshot
	for i := range 3 {
		all = append(all, ingestDisk(t, r, "disk/a", noise(uint64(i), 1<<16)))
	}
	pin, err := r.Pin(t.Context(), "mount /mnt", all...)
	if err != nil {
		t.Fatal(err)
	}
	leases := func() int {
		sessions, err := r.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(sessions)
	}
	if err := pin.Remove(t.Context(), all[1]); err != nil {
		t.Fatal(err)
	}
	if n := leases(); n != 1 {
		t.Errorf("%d leases", n)
	}
	if err := pin.Add(t.Context(), all[1]); err != nil {
		t.Errorf("pinning it again: %v", err)
	}
	if err := pin.Remove(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	if n := leases(); n != 0 {
		t.Errorf("%d leases pin nothing", n)
	}
	if err := pin.Add(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	sessions, err := r.Sessions(t.Context())
	if err != nil || len(sessions) != 1 {
		t.Fatal(sessions, err)
	}
	if err := r.BreakSession(t.Context(), sessions[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := r.BreakSession(t.Context(), sessions[0].ID); !errors.Is(err, repo.ErrNotFound) {
		t.Errorf("breaking it again: %v", err)
	}
	if err := pin.Remove(t.Context(), all[0]); !errors.Is(err, repo.ErrLeaseBroken) {
		t.Errorf("giving up what a broken lease held: %v", err)
	}
	if err := pin.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}
