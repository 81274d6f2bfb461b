package repo_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A damageCase is a way in which a repository is damaged, and what is to be
// said of it. What is lost is compared with what cannot be read in any case.
type damageCase struct {
	changes func(v *victim) map[string][]byte
	// found is how the findings begin, each with one of these; none if nothing
	// that matters is damaged.
	found []string
	// closed is what is said if the repository cannot be opened.
	closed string
	// gone are the snapshots that are not listed, by number.
	gone []int
	// mended tells that repair makes it whole.
	mended bool
}

// damageCases are beside the flipped bits of TestFlippedBitIsFoundAndNamed, the
// damages of packs of TestRepairSetsPacksAside, and the losses of TestIndexLost.
func damageCases() map[string]damageCase {
	one := func(dir string, nth int, change func(b []byte) []byte) func(*victim) map[string][]byte {
		return func(v *victim) map[string][]byte {
			names := v.of(dir)
			switch dir {
			case "config":
				names = []string{"config"}
			case "snapshots": // oldest first
				names = []string{"snapshots/" + v.snapshots[0].ID, "snapshots/" + v.snapshots[1].ID}
			}
			if nth < 0 {
				nth += len(names)
			}
			return map[string][]byte{names[nth]: change(v.objects[names[nth]])}
		}
	}
	none := func([]byte) []byte { return nil }
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	empty := func([]byte) []byte { return []byte{} }
	of := func(dir string, from, to int) func(*victim) map[string][]byte {
		return func(v *victim) map[string][]byte {
			names := v.of(dir)
			return map[string][]byte{names[to]: v.objects[names[from]]}
		}
	}
	put := func(name string) func(*victim) map[string][]byte {
		return func(v *victim) map[string][]byte {
			return map[string][]byte{strings.ReplaceAll(name, "SNAP", v.snapshots[0].ID): []byte("not what was written")}
		}
	}
	return map[string]damageCase{
		"config missing":               {changes: one("config", 0, none), closed: "config"},
		"config cut off":               {changes: one("config", 0, cut), closed: "config"},
		"the only key slot missing":    {changes: one("keys", 0, none), closed: "key"},
		"the only key slot cut off":    {changes: one("keys", 0, cut), closed: "key slot"},
		"index run cut off":            {changes: one("runs", 0, cut), found: []string{"index run"}, mended: true},
		"index run of other content":   {changes: of("runs", 0, 1), found: []string{"index run"}, mended: true},
		"index run missing":            {changes: one("runs", -1, none), found: []string{"index run"}, mended: true},
		"head in force of an old one":  {changes: of("head", 0, 1), found: []string{"head/"}, mended: true},
		"head in force missing":        {changes: one("head", -1, none), found: []string{"index"}, mended: true},
		"head in force empty":          {changes: one("head", -1, empty), found: []string{"head/"}, mended: true},
		"newest manifest missing":      {changes: one("snapshots", 1, none), gone: []int{1}}, // nobody can know of it
		"older manifest missing":       {changes: one("snapshots", 0, none), found: []string{"snapshot "}, gone: []int{0}},
		"manifest of another snapshot": {changes: of("snapshots", 0, 1), found: []string{"snapshot "}},
		"manifest cut off":             {changes: one("snapshots", 0, cut), found: []string{"snapshot "}},
		"manifest empty":               {changes: one("snapshots", 1, empty), found: []string{"snapshot "}},
		"mark of a snapshot damaged":   {changes: put("forgotten/SNAP"), found: []string{"mark of snapshot"}, gone: []int{0}, mended: true},
		"policy damaged":               {changes: put("policy/00000000000000000001"), found: []string{"policy/"}},
		"ledger damaged":               {changes: put("ledger/00112233445566778899aabbccddeeff"), found: []string{"ledger "}, mended: true},
		"file among the packs":         {changes: put("packs/SNAP/note.txt"), found: []string{"packs/"}, mended: true},
	}
}

// Of every kind of damage it is said exactly what is lost, everything else can be
// read, the next backup and the next collection do not make it worse, and
// repair mends what can be mended.
func TestEveryKindOfDamage(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for what, c := range damageCases() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			st := v.with(t, c.changes(v))
			o := v.examine(t, st)
			if c.closed != "" {
				if !errors.Is(o.openErr, repo.ErrDamaged) || !strings.Contains(o.openErr.Error(), c.closed) {
					t.Fatalf("open says %v", o.openErr)
				}
				return
			}
			if o.openErr != nil {
				t.Fatal(o.openErr)
			}
			for object := range o.found {
				if !slices.ContainsFunc(c.found, func(p string) bool { return strings.HasPrefix(object, p) }) {
					t.Errorf("found is %s", object)
				}
			}
			if len(c.found) > 0 && len(o.found) == 0 {
				t.Error("nothing is found")
			}
			for _, i := range c.gone {
				if !o.missing[v.snapshots[i].ID] {
					t.Errorf("snapshot %d is listed", i)
				}
			}
			if len(o.lost) > 0 {
				t.Errorf("lost is %v", o.lost)
			}
			result := mustRepair(t, st, repo.RepairOptions{})
			if len(result.Losses) > 0 || c.mended && !result.Whole() {
				t.Errorf("after the repair lost is %v, found is %v", result.Losses, result.After)
			}
			r := reopen(t, st)
			defer r.Close()
			b := newBackup("vm/c", 70)
			b.mustRead(t, r, mustIngest(t, r, b))
			if _, err := r.GC(t.Context(), repo.GCOptions{MaxRewrite: -1}); err != nil {
				t.Errorf("gc: %v", err)
			}
			after := v.examine(t, st)
			for id := range after.missing {
				if c.mended || !o.missing[id] && len(result.Snapshots) == 0 {
					t.Errorf("then snapshot %s is gone", id)
				}
			}
			if len(after.lost) > 0 {
				t.Errorf("then lost is %v", after.lost)
			}
		})
	}
}

// One damaged key slot takes away its own password only, and can be removed.
func TestDamagedKeySlotBesideAnother(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	st := newStore(t)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	b := newBackup("vm/a", 10)
	snap := mustIngest(t, r, b)
	id, err := r.AddKey(t.Context(), []byte("another"), "second")
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, st, "keys/"+id, func(b []byte) []byte { return b[:len(b)-7] })
	if _, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("another")}); !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), id) {
		t.Errorf("with the password that is lost: %v", err)
	}
	again := reopen(t, st)
	defer again.Close()
	b.mustRead(t, again, snap)
	result := mustRepair(t, st, repo.RepairOptions{})
	if result.Whole() || len(result.After) != 1 || result.After[0].Object != "key slot "+id || len(result.SetAside) != 0 {
		t.Errorf("repair finds %v, set aside %v", result.After, result.SetAside)
	}
	keys, _ := again.Keys(t.Context())
	if len(keys) != 1 {
		t.Fatalf("%d keys can be read", len(keys))
	}
	if _, err := again.RemoveKey(t.Context(), keys[0].ID); !errors.Is(err, repo.ErrLastKey) {
		t.Errorf("removing the last that can be read: %v", err)
	}
	if got, err := again.RemoveKey(t.Context(), id[:6]); got != id || err != nil {
		t.Errorf("removing the damaged one: %q, %v", got, err)
	}
	mustVerify(t, again)
}

// rewrite changes an object in its place.
func rewrite(t testing.TB, st *store.Dir, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := st.Get(t.Context(), name, 1<<30)
	if err == nil {
		err = st.Delete(t.Context(), name)
	}
	if err == nil {
		err = st.Put(t.Context(), name, change(b))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A lease that holds garbage is cleared away if its owner is gone. If he lives,
// it forbids most: nothing is removed as long as it is there, no index is made
// anew; and reading goes on.
func TestLeaseOfGarbage(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	t.Cleanup(repo.ShortWaits())
	for _, name := range []string{strings.Repeat("ab", 16), "not-an-id"} {
		m := store.NewMem()
		st := memStore(t, m)
		initRepo(t, st)
		r := reopen(t, st)
		defer r.Close()
		b := newBackup("vm/a", 10)
		mustIngest(t, r, b)
		forgotten := mustIngest(t, r, newBackup("vm/b", 200))
		if err := r.Forget(t.Context(), repo.ForgotByName, forgotten); err != nil {
			t.Fatal(err)
		}
		lease, err := memStore(t, m).OpenLease(t.Context(), name, []byte("garbage"))
		if err != nil {
			t.Fatal(err)
		}
		before := objects(t, st)
		if _, err := r.GC(t.Context(), repo.GCOptions{MaxRewrite: -1, Alone: true}); err != nil && !errors.Is(err, repo.ErrInUse) {
			t.Errorf("gc beside a lease that cannot be read: %v", err)
		}
		for _, name := range before {
			if strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "snapshots/") {
				if _, err := st.Size(t.Context(), name); err != nil {
					t.Errorf("gc has removed %s", name)
				}
			}
		}
		if err := r.RebuildIndex(t.Context()); !errors.Is(err, repo.ErrInUse) {
			t.Errorf("an index made anew beside a lease that cannot be read: %v", err)
		}
		b.mustRead(t, r, mustSnapshots(t, r)[0])
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A process that dies leaves its lease.
		if _, err := memStore(t, m).OpenLease(t.Context(), name, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		killed := memStore(t, m.Kill())
		left := reopen(t, killed)
		defer left.Close()
		mustIngest(t, left, b)
		if sessions, err := left.Sessions(t.Context()); err != nil || len(sessions) != 0 {
			t.Errorf("the dead lease is there: %v, %v", sessions, err)
		}
		if _, err := left.GC(t.Context(), repo.GCOptions{MaxRewrite: -1}); err != nil {
			t.Errorf("gc: %v", err)
		}
		mustVerify(t, left)
	}
}
