package repo_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// doubtsAbout are the doubts of a session that goes on from a snapshot, and the
// notes of what it commits.
func doubtsAbout(t *testing.T, st *store.Dir, base *repo.Snapshot) (doubts, notes string) {
	t.Helper()
	s, err := reopen(t, st).NewSession(t.Context(), repo.SessionOptions{Source: "vm/c", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	_, _ = s.OpenBase(t.Context(), "vda") // whatever it finds, it has doubted before
	doubts = strings.Join(repo.DoubtsOf(s), "\n")
	snap, err := s.Commit(t.Context(), repo.Info{})
	if err != nil {
		t.Fatal(err)
	}
	return doubts, strings.Join(snap.Info.Notes, "\n")
}

// A pack that is lost or known to be damaged is a doubt, and one that the
// snapshot tells of, until everything in it was stored again.
func TestDoubtEndsWhenAllIsHealed(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for how, damaged := range map[string]func(b []byte) []byte{
		"missing":       func([]byte) []byte { return nil },
		"found damaged": func(b []byte) []byte { b = bytes.Clone(b); b[100] ^= 1; return b },
	} {
		for _, name := range v.of("packs") {
			st := v.with(t, map[string][]byte{name: damaged(v.objects[name])})
			if how == "found damaged" {
				if _, err := reopen(t, st).Verify(t.Context(), repo.VerifyOptions{ReadData: true}); err != nil {
					t.Fatal(err)
				}
			}
			doubts, notes := doubtsAbout(t, st, v.snapshots[1])
			if !strings.Contains(doubts, label(name)) || !strings.Contains(notes, label(name)) || !strings.Contains(notes, "takes longer") {
				t.Errorf("%s is %s: the doubts are %q, the notes %q", label(name), how, doubts, notes)
			}
			mustIngest(t, reopen(t, st), v.first)
			healed := mustIngest(t, reopen(t, st), v.second)
			for _, base := range []*repo.Snapshot{v.snapshots[1], healed} {
				doubts, notes = doubtsAbout(t, st, base)
				if strings.Contains(doubts, label(name)) || base == v.snapshots[1] && notes != "" {
					t.Errorf("%s was %s, and is healed: the doubts are %q, the notes %q", label(name), how, doubts, notes)
				}
			}
			v.second.mustRead(t, reopen(t, st), v.snapshots[1])
		}
	}
}

// What a repair could not save is missed by every snapshot before it, though no
// pack that the index lists is missing: that is a doubt until a repair misses
// nothing any more.
func TestDoubtAfterARepairThatLostSomething(t *testing.T) {
	const aside = "was set aside by a repair"
	v := newVictim(t, "vm/a", 10)
	name := v.packsOf(1)[0]
	st := v.with(t, map[string][]byte{name: flipped(v.objects[name], 70, 1)})
	if result := mustRepair(t, st, repo.RepairOptions{}); len(result.SetAside) != 1 || len(result.Losses) == 0 {
		t.Fatalf("set aside %v, %d losses", result.SetAside, len(result.Losses))
	}
	for range 2 { // a repair that still misses something keeps the doubt
		if doubts, notes := doubtsAbout(t, st, v.snapshots[1]); !strings.Contains(doubts, aside) || !strings.Contains(notes, aside) {
			t.Errorf("the doubts are %q, the notes %q", doubts, notes)
		}
		mustRepair(t, st, repo.RepairOptions{})
	}
	mustIngest(t, reopen(t, st), v.first)
	mustIngest(t, reopen(t, st), v.second)
	if result := mustRepair(t, st, repo.RepairOptions{}); !result.Whole() {
		t.Fatalf("lost are %v, found is %v", lossesOf(result), result.After)
	}
	if doubts, _ := doubtsAbout(t, st, v.snapshots[1]); strings.Contains(doubts, aside) {
		t.Errorf("all is healed, and the doubts are %q", doubts)
	}
}

// A base that stored nothing leaves a run that lists nothing, in a chain of such
// ones each its own. By it is told that the index was not made anew: when it was,
// everything is looked for, which is said, and relied on.
func TestDoubtAboutABaseThatStoredNothing(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	b := newBackup("vm/a", 10)
	base := mustIngest(t, r, b)
	for range 3 {
		again, full, err := b.increment(t.Context(), r, base, b)
		if err != nil || full != nil || again.Info.Summary.BytesStored != 0 {
			t.Fatal(again, full, err)
		}
		if doubts, notes := doubtsAbout(t, st, again); doubts+notes != "" {
			t.Errorf("the doubts are %q, the notes %q", doubts, notes)
		}
		base = again
	}
	if err := reopen(t, st).RebuildIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	doubts, notes := doubtsAbout(t, st, base)
	if want := "no index run of that snapshot is listed"; !strings.Contains(doubts, want) || !strings.Contains(notes, want) {
		t.Errorf("the doubts are %q, the notes %q", doubts, notes)
	}
	is := b.with(50<<20, random(90, 5000))
	snap, full, err := is.increment(t.Context(), reopen(t, st), base, b)
	if err != nil || full != nil {
		t.Fatal(full, err)
	}
	is.mustRead(t, r, snap)
	if doubts, notes := doubtsAbout(t, st, snap); doubts+notes != "" {
		t.Errorf("the doubts are %q, the notes %q", doubts, notes)
	}
}

// Backups in which nothing changed leave runs that list nothing; those of forgotten
// ones are removed with them, and that of one that is kept stays.
func TestTracesAreCollected(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	b := newBackup("vm/a", 10)
	first := mustIngest(t, r, b)
	var again []*repo.Snapshot
	for range 3 {
		snap, full, err := b.increment(t.Context(), r, first, b)
		if err != nil || full != nil {
			t.Fatal(full, err)
		}
		again = append(again, snap)
	}
	runsOf := func(snap *repo.Snapshot) int {
		of := func(name string) bool { return strings.HasPrefix(name, "runs/"+snap.ID) }
		return len(objects(t, st)) - len(slices.DeleteFunc(objects(t, st), of))
	}
	if runsOf(again[0]) != 1 {
		t.Errorf("%d runs of a snapshot that stored nothing", runsOf(again[0]))
	}
	mustForget(t, r, again[:2]...)
	mustCollect(t, r, everything)
	if runsOf(again[0])+runsOf(again[1]) != 0 || runsOf(again[2]) != 1 {
		t.Errorf("%d and %d runs of what was forgotten, %d of what was not", runsOf(again[0]), runsOf(again[1]), runsOf(again[2]))
	}
	if doubts, notes := doubtsAbout(t, st, again[2]); doubts+notes != "" {
		t.Errorf("the doubts are %q, the notes %q", doubts, notes)
	}
}
