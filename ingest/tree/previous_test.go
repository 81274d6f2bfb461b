package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testtree"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A previous snapshot that is damaged does not keep the next from being made,
// nor does it spoil that.
func TestADamagedPreviousSnapshot(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		sub := filepath.Join(dir, fmt.Sprint("d", i%10))
		ok(t, os.MkdirAll(sub, 0o700))
		ok(t, os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), testtree.Noise(byte(i), 5000+i), 0o600))
	}
	r, at := newRepoIn(t, filepath.Join(t.TempDir(), "repo"))
	settle(t)
	clean(t, r, dir, Options{Name: "x"})
	ok(t, r.Close())
	packs, err := filepath.Glob(at + "/packs/*/*")
	ok(t, err)
	for _, name := range packs {
		b, err := os.ReadFile(name)
		ok(t, err)
		for i := 100; i < len(b)*9/10; i += 500 {
			b[i] ^= 1
		}
		ok(t, os.WriteFile(name, b, 0o600))
	}
	st, err := store.OpenDir(at)
	ok(t, err)
	t.Cleanup(func() { st.Close() })
	again, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("secret"), Warn: func(s string) { t.Log(s) }})
	ok(t, err)
	t.Cleanup(func() { again.Close() })
	warned := 0
	s := clean(t, again, dir, Options{Name: "x", ForceRead: true, Warn: func(w string) {
		warned++
		if !strings.Contains(w, "the previous snapshot's tree cannot be read") {
			t.Errorf("warning %q", w)
		}
	}})
	if warned != 1 {
		t.Errorf("%d warnings", warned)
	}
	if s.Seq != 2 || s.Info.Summary.Files != 300 {
		t.Errorf("number %d, %+v", s.Seq, s.Info.Summary)
	}
}

func TestWhatCountsAsUnchanged(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	stamp := func(seconds int) repo.Timestamp {
		return repo.Timestamp{Sec: at.Add(time.Duration(seconds) * time.Second).Unix(), Nsec: 7}
	}
	entry := func(change func(*repo.Entry)) *repo.Entry {
		e := &repo.Entry{Mode: 0o100644, Inode: 5, Links: 1, Mtime: stamp(-100), Ctime: stamp(-50), Content: repo.Content{Size: 3}}
		change(e)
		return e
	}
	was := entry(func(*repo.Entry) {})
	plain, links := &previous{before: at}, &previous{before: at, links: true}
	for _, c := range []struct {
		what         string
		now          func(*repo.Entry)
		plain, links bool
	}{
		{"the same", func(*repo.Entry) {}, true, true},
		{"another size", func(e *repo.Entry) { e.Content.Size++ }, false, false},
		{"another mtime", func(e *repo.Entry) { e.Mtime.Nsec++ }, false, false},
		{"another ctime", func(e *repo.Entry) { e.Ctime.Nsec++ }, false, false},
		{"another inode", func(e *repo.Entry) { e.Inode++ }, false, false},
		{"another name, which changes ctime", func(e *repo.Entry) { e.Links, e.Ctime = 2, stamp(100) }, false, true},
		{"other attributes", func(e *repo.Entry) { e.Mode, e.UID = 0o100600, 7 }, true, true},
	} {
		now := entry(c.now)
		if got := plain.same(now, was); got != c.plain {
			t.Errorf("%s: %v", c.what, got)
		}
		if got := links.same(now, was); got != c.links {
			t.Errorf("%s, where files get more names: %v", c.what, got)
		}
	}
	late := entry(func(e *repo.Entry) { e.Ctime = stamp(0) })
	if plain.same(late, late) {
		t.Error("what was touched when the walk began is taken to be unchanged")
	}
	if future := entry(func(e *repo.Entry) { e.Mtime = stamp(1000) }); !plain.same(future, future) {
		t.Error("a file of the future that was not touched lately is read again")
	}
	for _, c := range []struct {
		what         string
		ctime, mtime repo.Timestamp
		same         bool
	}{
		{"an old mtime", repo.Timestamp{}, stamp(-100), true},
		{"an mtime of when the walk began", repo.Timestamp{}, stamp(0), false},
		{"no mtime either", repo.Timestamp{}, repo.Timestamp{}, false},
		{"no mtime but a ctime", stamp(-50), repo.Timestamp{}, true},
	} {
		if e := entry(func(e *repo.Entry) { e.Ctime, e.Mtime = c.ctime, c.mtime }); plain.same(e, e) != c.same {
			t.Errorf("without ctime, %s: not %v", c.what, c.same)
		}
	}
	var none *previous
	if none.same(was, was) || plain.same(was, nil) || (&previous{before: at, force: true}).same(was, was) {
		t.Error("something is taken over from nothing")
	}
}
