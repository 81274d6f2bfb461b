package repo_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

func packs(t *testing.T, st *store.Dir) (names []string) {
	t.Helper()
	err := st.List(t.Context(), "packs", func(i store.Info) error { names = append(names, i.Name); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// openDamaged opens a repository that will not be whole in the end, and does not
// verify itself.
func openDamaged(t *testing.T, st *store.Dir) *repo.Repo {
	t.Helper()
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// Whatever pack is lost or cut off or, if it holds structure, damaged: the next
// backup of the same disk is whole, and so is the one before it again.
func TestNextBackupHealsWhatIsLost(t *testing.T) {
	disk := noise(3, 3<<20)
	for _, how := range []string{"missing", "cut off", "damaged"} {
		for i := range 2 {
			st := newStore(t)
			if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap}); err != nil {
				t.Fatal(err)
			}
			first := ingestDisk(t, openDamaged(t, st), "disk/a", disk)
			names := packs(t, st)
			if len(names) != 2 {
				t.Fatalf("%d packs, want one of data and one of structure", len(names))
			}
			name := names[i]
			b, err := st.Get(t.Context(), name, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			if how == "damaged" && b[8] == 1 {
				continue // only reading all data finds that: verify does
			}
			if err := st.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			switch how {
			case "cut off":
				err = st.Put(t.Context(), name, b[:len(b)/2])
			case "damaged":
				b[100] ^= 1
				err = st.Put(t.Context(), name, b)
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := tryDisk(t.Context(), openDamaged(t, st), "disk/a", disk)
			if err != nil {
				t.Fatalf("%s: the next backup: %v", how, err)
			}
			r := openDamaged(t, st)
			for _, s := range []*repo.Snapshot{first, again} {
				if !bytes.Equal(readDisk(t, r, s), disk) {
					t.Errorf("%s: snapshot %d comes back different", how, s.Seq)
				}
			}
		}
	}
}

// tiny is a disk in which every second grain holds data that compresses to
// next to nothing: as many chunks as a disk of its size can have.
func tiny(n int) []byte {
	b := make([]byte, n)
	for i, off := 0, 0; off < n; i, off = i+1, off+2*chunk.Grain {
		binary.LittleEndian.PutUint64(b[off:], uint64(i)+1)
	}
	return b
}

// More chunks than one pack, or one run, may list: packs and runs are closed in
// time, so that such a guest cannot spoil the index for the others.
func TestDiskOfTinyChunks(t *testing.T) {
	st := newStore(t)
	disk := tiny(2*chunk.Grain*format.MaxPackEntries + 5*2*chunk.Grain)
	s := ingestDisk(t, newRepo(t, st), "disk/tiny", disk)
	if n := s.Info.Summary.ChunksTotal; n != format.MaxPackEntries+5 {
		t.Errorf("%d chunks", n)
	}
	if n := len(packs(t, st)); n < 3 {
		t.Errorf("%d packs, want two of data and one of structure at least", n)
	}
	if !bytes.Equal(readDisk(t, open(t, st), s), disk) {
		t.Error("the disk comes back different")
	}
}

// Damage inside a pack of the right length is found by reading all data only.
// From then on no backup relies on the pack, and the next one heals it.
func TestVerifyTellsLaterBackups(t *testing.T) {
	st := newStore(t)
	disk := noise(5, 2<<20)
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	first := ingestDisk(t, openDamaged(t, st), "disk/a", disk)
	for _, name := range packs(t, st) {
		b, err := st.Get(t.Context(), name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if b[8] != 1 {
			continue
		}
		b[len(b)/2] ^= 1
		if err := st.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if err := st.Put(t.Context(), name, b); err != nil {
			t.Fatal(err)
		}
	}
	verify := func() *repo.VerifyResult {
		t.Helper()
		got, err := openDamaged(t, st).Verify(t.Context(), repo.VerifyOptions{ReadData: true})
		if err != nil || len(got.Findings) != 1 {
			t.Fatalf("verify: %v, %v", got, err)
		}
		return got
	}
	if got := verify(); len(got.Findings[0].Touches) != 1 {
		t.Errorf("before: touches %v", got.Findings[0].Touches)
	}
	again := ingestDisk(t, openDamaged(t, st), "disk/a", disk)
	if again.Info.Summary.BytesNew == 0 {
		t.Error("nothing was stored again")
	}
	for _, s := range []*repo.Snapshot{first, again} {
		if !bytes.Equal(readDisk(t, openDamaged(t, st), s), disk) {
			t.Errorf("snapshot %d comes back different", s.Seq)
		}
	}
	if got := verify(); len(got.Findings[0].Touches) != 0 {
		t.Errorf("after: touches %v", got.Findings[0].Touches)
	}
}

// An object of a newer program stops this one: it neither reads on nor repairs.
// The same bit flipped by accident is damage like any other.
func TestNewerHeadIsNotRepaired(t *testing.T) {
	st := newStore(t)
	newRepo(t, st)
	var head string
	if err := st.List(t.Context(), "head", func(i store.Info) error { head = i.Name; return nil }); err != nil {
		t.Fatal(err)
	}
	newer := append([]byte("vfshead\x02"), make([]byte, 200)...)
	next := head[:len(head)-1] + "9"
	if err := st.Put(t.Context(), next, newer); err != nil {
		t.Fatal(err)
	}
	_, err := tryDisk(t.Context(), openDamaged(t, st), "disk/a", noise(1, 1<<16))
	if !errors.Is(err, repo.ErrNewerFormat) {
		t.Errorf("a session beside a newer head: %v", err)
	}
	if err := openDamaged(t, st).RebuildIndex(t.Context()); !errors.Is(err, repo.ErrNewerFormat) {
		t.Errorf("a repair beside a newer head: %v", err)
	}
	if _, err := st.Size(t.Context(), next); err != nil {
		t.Errorf("the newer head: %v", err)
	}
	if err := st.Delete(t.Context(), next); err != nil {
		t.Fatal(err)
	}
}

// A snapshot of a newer program stops this one as well, whatever its source: it
// neither adds nor repairs, and verify does not call it damaged.
func TestNewerSnapshot(t *testing.T) {
	for what, n := range map[string]uint32{"the layout that is known": 20, "another layout": 5000} {
		t.Run(what, func(t *testing.T) {
			st := newStore(t)
			if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap}); err != nil {
				t.Fatal(err)
			}
			first := ingestDisk(t, openDamaged(t, st), "disk/a", noise(1, 1<<16))
			newer := append([]byte("vfsmani\x05"), bytes.Repeat([]byte{7}, 32)...)
			newer = append(binary.BigEndian.AppendUint32(newer, n), bytes.Repeat([]byte{9}, 200)...)
			id := strings.Repeat("ab", 16)
			if err := st.Put(t.Context(), "snapshots/"+id, newer); err != nil {
				t.Fatal(err)
			}
			stops := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, repo.ErrNewerFormat) || errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), id) {
					t.Errorf("%s beside a newer snapshot: %v", what, err)
				}
			}
			_, err := tryDisk(t.Context(), openDamaged(t, st), "disk/b", noise(2, 1<<16))
			stops("a session", err)
			stops("a repair", openDamaged(t, st).RebuildIndex(t.Context()))
			got, err := openDamaged(t, st).Verify(t.Context(), repo.VerifyOptions{ReadData: true})
			if err != nil || len(got.Findings) != 0 || len(got.Newer) != 1 || got.Snapshots != 1 {
				t.Fatalf("verify: %+v, %v", got, err)
			}
			stops("verify", got.Newer[0])
			if sessions, err := openDamaged(t, st).Sessions(t.Context()); err != nil || len(sessions) != 0 {
				t.Errorf("leases are left: %v, %v", sessions, err)
			}
			if !bytes.Equal(readDisk(t, openDamaged(t, st), first), noise(1, 1<<16)) {
				t.Error("the snapshot that is known comes back different")
			}
		})
	}
}

// A snapshot that is gone from the middle of its source's row, or cannot be
// read, is not passed over in silence.
func TestLostSnapshotIsNoticed(t *testing.T) {
	st := newStore(t)
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	var made []*repo.Snapshot
	for i := range 3 {
		made = append(made, ingestDisk(t, openDamaged(t, st), "disk/a", noise(uint64(i), 1<<16)))
	}
	newest := "snapshots/" + made[2].ID
	b, err := st.Get(t.Context(), newest, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Delete(t.Context(), newest); err != nil {
		t.Fatal(err)
	}
	if err := st.Put(t.Context(), newest, append(b[:50:50], b[49:len(b)-1]...)); err != nil {
		t.Fatal(err)
	}
	var warned []string
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("secret"), Warn: func(s string) { warned = append(warned, s) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := r.Resolve(t.Context(), "disk/a@latest")
	if err != nil || got.ID != made[1].ID || !strings.Contains(strings.Join(warned, " "), made[2].ID) {
		t.Errorf("the newest is unreadable: %v, %v; warned %q", got, err, warned)
	}
	if err := st.Delete(t.Context(), "snapshots/"+made[0].ID); err != nil {
		t.Fatal(err)
	}
	result, err := r.Verify(t.Context(), repo.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var objects []string
	for _, f := range result.Findings {
		objects = append(objects, f.Object)
	}
	for _, lost := range []*repo.Snapshot{made[0], made[2]} {
		if !slices.Contains(objects, "snapshot "+lost.ID) {
			t.Errorf("findings are %v, not snapshot %s", objects, lost.ID)
		}
	}
}
