package repo_test

import (
	"fmt"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A repair that is interrupted at whatever step loses nothing, deletes nothing,
// and the next one ends it: then exactly that is lost which was lost before.
func TestCrashAtEveryStepOfARepair(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	data, maps := v.packsOf(1)[0], v.packsOf(2)[0]
	changes := map[string][]byte{
		data:                             flipped(v.objects[data], 70, 1),
		maps:                             flipped(v.objects[maps], 30, 1), // the header: every map in it is good
		"snapshots/" + v.snapshots[0].ID: []byte("garbage"),
	}
	want := lossesOf(mustRepair(t, v.with(t, changes), repo.RepairOptions{}))
	if len(want) == 0 {
		t.Fatal("nothing is lost")
	}
	m := store.NewMem()
	st := memStore(t, m)
	for name, b := range v.objects {
		if c, ok := changes[name]; ok {
			b = c
		}
		if err := st.Put(t.Context(), name, b); err != nil {
			t.Fatal(err)
		}
	}
	repair := func(st *store.Dir) (*repo.RepairResult, error) {
		r, err := tryOpen(st, nil)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return r.Repair(t.Context(), repo.RepairOptions{})
	}
	eachCrash(t, m.Kill(), func(st *store.Dir) error { _, err := repair(st); return err },
		func(t *testing.T, st *store.Dir, thoroughly bool) {
			for name := range changes {
				kept, left := name, 0
				for _, at := range []string{kept, "quarantine/" + kept} {
					if b, err := st.Get(t.Context(), at, 1<<30); err == nil && string(b) == string(changes[name]) {
						left++
					}
				}
				if left == 0 {
					t.Errorf("%s is neither in its place nor in quarantine", name)
				}
			}
			if !thoroughly {
				return
			}
			result, err := repair(st)
			if err != nil {
				t.Errorf("the next repair: %v", err)
				return
			}
			if got := lossesOf(result); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("then lost are %v, want %v", got, want)
			}
			r := reopen(t, st)
			defer r.Close()
			if all := mustSnapshots(t, r); len(all) != 1 {
				t.Errorf("%d snapshots", len(all))
			}
			// And a collector has no reason to wait, nor anything of the quarantine to remove.
			if _, err := st.Size(t.Context(), "quarantine/"+data); err != nil {
				t.Errorf("the pack in quarantine: %v", err)
			}
		})
}
