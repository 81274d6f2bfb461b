package repo_test

import "testing"

// A mount enters one snapshot after another: it holds one lease for them all.
func TestPinHoldsOneLease(t *testing.T) {
	r := newRepo(t, newStore(t))
	pin, err := r.Pin(t.Context(), "mount /mnt")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s := ingestDisk(t, r, "disk/a", noise(uint64(i), 1<<16))
		if err := pin.Add(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		sessions, err := r.Sessions(t.Context())
		if err != nil || len(sessions) != 1 || sessions[0].Purpose != "mount /mnt" || !sessions[0].Alive {
			t.Errorf("after %d snapshots: %v, %v", i+1, sessions, err)
		}
	}
	if err := pin.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sessions, err := r.Sessions(t.Context()); err != nil || len(sessions) != 0 {
		t.Errorf("after the end: %v, %v", sessions, err)
	}
}
