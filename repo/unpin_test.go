package repo_test

import (
	"errors"
	"testing"

	"vaultfs/repo"
)

// A snapshot that turns out to be forgotten is not kept by the lease that was to
// name it, and what was pinned before stays so.
func TestPinForgotten(t *testing.T) {
	r := newRepo(t, newStore(t))
	kept, gone := ingestDisk(t, r, "disk/a", noise(1, 1<<16)), ingestDisk(t, r, "disk/b", noise(2, 1<<16))
	if err := r.Forget(t.Context(), repo.ForgotByName, gone); err != nil {
		t.Fatal(err)
	}
	pin, err := r.Pin(t.Context(), "mount /mnt", kept)
	if err != nil {
		t.Fatal(err)
	}
	before, err := r.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := pin.Add(t.Context(), gone); !errors.Is(err, repo.ErrNotFound) {
		t.Errorf("pinning a forgotten snapshot: %v", err)
	}
	after, err := r.Sessions(t.Context())
	if err != nil || len(after) != 1 || len(before) != 1 {
		t.Errorf("%v, then %v, %v", before, after, err)
	}
	if got := pin.Named(); len(got) != 1 || got[0] != kept.ID {
		t.Errorf("the lease names %q", got)
	}
	if err := pin.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

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
