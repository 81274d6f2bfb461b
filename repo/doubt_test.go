package repo_test

import (
	"bytes"
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

// A base that stored nothing has no run by which it could be told that the index
// was not made anew: everything is looked for, which is said, and relied on.
func TestDoubtAboutABaseThatStoredNothing(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	b := newBackup("vm/a", 10)
	first := mustIngest(t, r, b)
	second, full, err := b.increment(t.Context(), r, first, b)
	if err != nil || full != nil || second.Info.Summary.BytesStored != 0 {
		t.Fatal(second, full, err)
	}
	doubts, notes := doubtsAbout(t, st, second)
	if want := "it stored nothing new, or the index was made anew"; !strings.Contains(doubts, want) || !strings.Contains(notes, want) {
		t.Errorf("the doubts are %q, the notes %q", doubts, notes)
	}
	is := b.with(50<<20, random(90, 5000))
	snap, full, err := is.increment(t.Context(), r, second, b)
	if err != nil || full != nil {
		t.Fatal(full, err)
	}
	is.mustRead(t, r, snap)
	if doubts, notes := doubtsAbout(t, st, snap); doubts+notes != "" {
		t.Errorf("the doubts are %q, the notes %q", doubts, notes)
	}
}
