package repo_test

import (
	"bytes"
	"testing"

	"vaultfs/repo"
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
