package repo_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/repo"
)

// losses are the ways in which a repository can lose its index.
func losses(v *victim) map[string]map[string][]byte {
	heads, runs := v.of("head"), v.of("runs")
	newest := heads[len(heads)-1]
	noRuns, noHeads, neither := map[string][]byte{}, map[string][]byte{}, map[string][]byte{}
	for _, name := range runs {
		noRuns[name], neither[name] = nil, nil
	}
	for _, name := range heads {
		noHeads[name], neither[name] = nil, nil
	}
	return map[string]map[string][]byte{
		"all runs deleted":      noRuns,
		"all heads deleted":     noHeads,
		"both deleted":          neither,
		"newest head deleted":   {newest: nil},
		"newest head damaged":   {newest: flipped(v.objects[newest], 60, 1)},
		"newest head empty":     {newest: {}},
		"newest head of zeros":  {newest: make([]byte, 100)},
		"one run deleted":       {runs[0]: nil},
		"one run damaged":       {runs[0]: flipped(v.objects[runs[0]], 60, 1)},
		"one run newer":         {runs[0]: flipped(v.objects[runs[0]], 7, 1)},
		"version of head newer": {newest: flipped(v.objects[newest], 7, 1)},
		"one run cut off":       {runs[0]: v.objects[runs[0]][:100]},
	}
}

// Without its index a repository is read all the same, says so, is found
// wanting by verify, and mends itself when it is next written to.
func TestIndexLost(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for what, changes := range losses(v) {
		t.Run(what, func(t *testing.T) {
			st := v.with(t, changes)
			var warnings []string
			r, err := tryOpen(st, func(s string) { warnings = append(warnings, s) })
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for i, s := range mustSnapshots(t, r) {
				[]backup{v.first, v.second}[i].mustRead(t, r, s)
			}
			if text := strings.Join(warnings, "\n"); !strings.Contains(text, "repair index") {
				t.Errorf("warnings are %q", text)
			}
			result, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: true})
			if err != nil || len(result.Findings) == 0 {
				t.Fatalf("verify finds nothing (%v)", err)
			}
			for _, f := range result.Findings {
				if len(f.Touches) > 0 || !errors.Is(&repo.DamageError{Object: f.Object, Err: f.Err}, repo.ErrDamaged) {
					t.Errorf("%s: %v touches %d items", f.Object, f.Err, len(f.Touches))
				}
			}
			// Whoever has it open goes on while another mends it.
			third := newBackup("vm/c", 70)
			w := reopen(t, st)
			defer w.Close()
			s, err := third.ingest(t.Context(), w)
			if err != nil {
				t.Fatalf("the next backup: %v", err)
			}
			third.mustRead(t, w, s)
			third.mustRead(t, r, s)
			again := mustIngest(t, reopen(t, st), v.second)
			if n := again.Info.Summary.ChunksNew; n > 0 {
				t.Errorf("an unchanged backup stores %d chunks", n)
			}
			if what == "newest head deleted" {
				// It cannot be told from an older state until something is missed.
				if err := w.RebuildIndex(t.Context()); err != nil {
					t.Error(err)
				}
			}
			mustVerify(t, w)
			checkExplained(t, st)
		})
	}
}

func TestRebuildIndex(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for what, changes := range losses(v) {
		st := v.with(t, changes)
		r := reopen(t, st)
		if err := r.RebuildIndex(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		mustVerify(t, r)
		for i, s := range mustSnapshots(t, r) {
			[]backup{v.first, v.second}[i].mustRead(t, r, s)
		}
		r.Close()
		if t.Failed() {
			t.Fatal(what)
		}
	}
}

// Making the index anew must not lose what only the old one knew: a pack whose
// footer is damaged, the chunks of which are whole.
func TestRebuildKeepsWhatFootersLost(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	changes := map[string][]byte{}
	for _, name := range v.of("packs") {
		end := len(v.objects[name]) - 12 // of the footer, or of the secret behind it
		if v.objects[name][8] == 1 {
			end -= 1176
		}
		changes[name] = flipped(v.objects[name], end-1, 1)
	}
	st := v.with(t, changes)
	r := reopen(t, st)
	defer r.Close()
	if err := r.RebuildIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, s := range mustSnapshots(t, r) {
		[]backup{v.first, v.second}[i].mustRead(t, r, s)
	}
}

func TestRebuildIsRefusedWhileSomeoneIsAtWork(t *testing.T) {
	r := newRepo(t, newStore(t))
	snap := mustIngest(t, r, newBackup("vm/a", 10))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/b", Kind: "vm"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RebuildIndex(t.Context()); !errors.Is(err, repo.ErrInUse) || !strings.Contains(err.Error(), "vm/b") {
		t.Errorf("while a session is open: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	pin, err := r.Pin(t.Context(), "mount /mnt", snap)
	if err != nil {
		t.Fatal(err)
	}
	// Readers do not mind, and must not keep backups from going on.
	if err := r.RebuildIndex(t.Context()); err != nil {
		t.Errorf("while a mount is up: %v", err)
	}
	if err := pin.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The local copy of the index may vanish or be damaged at any time.
func TestLocalCacheLost(t *testing.T) {
	st, cache := newStore(t), t.TempDir()
	initRepo(t, st)
	b := newBackup("vm/a", 10)
	with := func(fn func(r *repo.Repo)) {
		t.Helper()
		r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("secret"), CacheDir: cache, Warn: func(s string) { t.Errorf("warned: %s", s) }})
		if err != nil {
			t.Fatal(err)
		}
		fn(r)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	var snap *repo.Snapshot
	with(func(r *repo.Repo) { snap = mustIngest(t, r, b) })
	files, err := filepath.Glob(cache + "/*/*")
	if err != nil || len(files) < 2 {
		t.Fatalf("cache files %v, %v", files, err)
	}
	for _, damage := range []func(string) error{
		os.Remove,
		func(f string) error { return os.Truncate(f, 0) },
		func(f string) error {
			c, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			return os.WriteFile(f, bytes.Repeat([]byte{7}, len(c)), 0o600)
		},
		func(f string) error { // the first block of a table, which Open does not read
			c, err := os.ReadFile(f)
			if err != nil || len(c) == 0 {
				return err
			}
			c[0] ^= 1
			return os.WriteFile(f, c, 0o600)
		},
	} {
		for _, open := range []bool{false, true} {
			files, _ := filepath.Glob(cache + "/*/*")
			each := func() {
				for _, f := range files {
					if err := damage(f); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !open {
				each()
			}
			with(func(r *repo.Repo) {
				if open {
					each()
				}
				b.mustRead(t, r, snap)
				again := mustIngest(t, r, b)
				if n := again.Info.Summary.ChunksNew; n > 0 && !open {
					t.Errorf("an unchanged backup stores %d chunks", n)
				}
				b.mustRead(t, r, again)
			})
		}
	}
	with(func(r *repo.Repo) { mustVerify(t, r) })
}
