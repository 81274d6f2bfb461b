package index

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"vaultfs/repo/format"
)

// A cached is a world and a cache directory with several tables of it, among
// them two that share a run.
type cached struct {
	*world
	files map[string][]byte
}

func newCached(t *testing.T) cached {
	t.Helper()
	w, dir, rng := newWorld(), t.TempDir(), rand.New(rand.NewPCG(1, 2))
	x := openInstance(t, dir)
	publish := func(packs int) format.RunName {
		chunks := make([][]int, packs)
		for i := range chunks {
			chunks[i] = rng.Perm(testIDs)[:30]
		}
		name, run := w.name(), w.newRun(chunks)
		w.runs[name] = run
		w.edit([]format.RunName{name}, nil)
		if err := x.Add(name, run); err != nil {
			t.Fatal(err)
		}
		return name
	}
	publish(12)
	old := []format.RunName{publish(5), publish(2)}
	by := w.name()
	w.runs[by] = w.merged(old)
	w.edit([]format.RunName{by}, old)
	x.Replace(old, by)
	publish(1)
	if len(x.tables) < 3 {
		t.Fatalf("%d tables, want several", len(x.tables))
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return cached{w, readFiles(t, dir)}
}

func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = b
	}
	return files
}

// tryDamaged opens the cache with one file changed (nil: deleted). Every chunk
// is found where it is, if need be after one more Sync, and once the cache was
// closed nothing of the damage is left.
func (c cached) tryDamaged(t *testing.T, what, file string, content []byte) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range c.files {
		if name == file {
			b = content
		}
		if b == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("with %s: %s", file, what)
		}
	}()
	x := openInstance(t, dir)
	c.sync(t, x)
	for n := range testIDs {
		for _, l := range x.Lookup(testID(n)) {
			if !contains(c.want(x.view, testID(n)), l) {
				t.Fatalf("chunk %d is said to be where it is not", n)
			}
		}
	}
	if x.Stale() {
		c.sync(t, x)
	}
	c.check(t, x.Index, x.view)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	again := openInstance(t, dir)
	defer again.Close()
	c.loads = 0
	c.sync(t, again)
	if c.check(t, again.Index, again.view); c.loads > 0 || again.Stale() {
		t.Fatalf("the damage is still there: %d runs fetched again", c.loads)
	}
}

func contains(all []Location, l Location) bool {
	for _, w := range all {
		l.Pack.Session = w.Pack.Session
		if sameLocation(w, l) {
			return true
		}
	}
	return false
}

func TestDamagedCacheHealsItself(t *testing.T) {
	c := newCached(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for file, b := range c.files {
		if file == "lock" {
			continue
		}
		c.tryDamaged(t, "deleted", file, nil)
		c.tryDamaged(t, "empty", file, []byte{})
		c.tryDamaged(t, "garbage", file, bytes.Repeat([]byte{0xa5}, len(b)))
		c.tryDamaged(t, "zeros", file, make([]byte, len(b)))
		c.tryDamaged(t, "one byte longer", file, append(bytes.Clone(b), 0))
		for _, n := range []int{1, 32, len(b) / 2, len(b) - trailerSize, len(b) - 1} {
			c.tryDamaged(t, "cut off", file, b[:max(0, min(n, len(b)))])
		}
		for range 6 {
			flipped := bytes.Clone(b)
			flipped[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			c.tryDamaged(t, "a bit flipped", file, flipped)
		}
		for off := max(0, len(b)-trailerSize); off < len(b); off += 9 {
			flipped := bytes.Clone(b)
			flipped[off] ^= 0x80
			c.tryDamaged(t, "a bit of the trailer flipped", file, flipped)
		}
		for other, content := range c.files {
			if other != "lock" && other != file {
				c.tryDamaged(t, "the content of "+other, file, content)
			}
		}
	}
}

// A table may go bad while it is open; a merge finds it too.
func TestTableGoesBadWhileOpen(t *testing.T) {
	c := newCached(t)
	for _, merge := range []bool{false, true} {
		dir := t.TempDir()
		for name, b := range c.files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		x := openInstance(t, dir)
		c.sync(t, x)
		for _, table := range x.tables {
			if err := os.Truncate(table.file.Name(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if merge {
			chunks := slices.Repeat([][]int{rand.Perm(testIDs)}, 20)
			name, run := c.name(), c.newRun(chunks)
			c.runs[name] = run
			c.edit([]format.RunName{name}, nil)
			if err := x.Add(name, run); err != nil {
				t.Fatal(err)
			}
		}
		for n := range testIDs {
			x.Lookup(testID(n))
		}
		if !x.Stale() {
			t.Error("the loss of the tables is not noticed")
		}
		c.sync(t, x)
		c.check(t, x.Index, x.view)
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Several processes with one cache directory take each other's tables away.
func TestSharedCacheDirectory(t *testing.T) {
	c := newCached(t)
	for n := range testIDs {
		c.want(c.head.Runs, testID(n)) // so that it is only read from now on
	}
	dir := t.TempDir()
	failed := make(chan error, 4)
	for i := range 4 {
		go func() {
			rng := rand.New(rand.NewPCG(5, uint64(i)))
			for range 20 {
				x, err := Open(dir)
				if err != nil {
					failed <- err
					return
				}
				x.spillAt = testSpill
				if err = x.Sync(&c.head, func(n format.RunName) (*format.Run, error) { return c.runs[n], nil }); err == nil {
					for range 20 {
						id := testID(rng.IntN(testIDs))
						if len(x.Lookup(id)) != len(c.want(c.head.Runs, id)) {
							t.Errorf("chunk %v is not in all its places", id)
						}
					}
					err = x.Close()
				}
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range 4 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// A cache that cannot be written to fails nothing.
func TestCacheDirectoryVanishes(t *testing.T) {
	c := newCached(t)
	dir := filepath.Join(t.TempDir(), "cache")
	x := openInstance(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.sync(t, x)
	c.check(t, x.Index, x.view)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}
