package store

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

var ctx = context.Background()

// crippled is a file system that lacks what some have not.
type crippled struct {
	fileSystem
	noNameless  bool // no O_TMPFILE
	noNoReplace bool // no RENAME_NOREPLACE
}

func (c crippled) createNameless(dir string) (file, error) {
	if c.noNameless {
		return nil, unix.EOPNOTSUPP
	}
	return c.fileSystem.createNameless(dir)
}

func (c crippled) rename(oldName, newName string, replace bool) error {
	if c.noNoReplace && !replace {
		return unix.EINVAL
	}
	return c.fileSystem.rename(oldName, newName, replace)
}

// variants are the kinds of file system that every store test runs on.
var variants = []struct {
	name    string
	cripple crippled
}{
	{"nameless", crippled{}},
	{"named", crippled{noNameless: true}},
	{"named-noreplace-missing", crippled{noNameless: true, noNoReplace: true}},
	{"nameless-noreplace-missing", crippled{noNoReplace: true}},
}

func (c crippled) over(t testing.TB, fs fileSystem) *Dir {
	t.Helper()
	c.fileSystem = fs
	d, err := newDir(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// onVariants runs a test on every variant of a disk in memory.
func onVariants(t *testing.T, test func(t *testing.T, c crippled)) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) { test(t, v.cripple) })
	}
}

// onStores runs a test on every variant of both implementations. open opens
// another store, as if by another process, over the same directory.
func onStores(t *testing.T, test func(t *testing.T, open func() *Dir)) {
	onVariants(t, func(t *testing.T, c crippled) {
		t.Run("os", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			d, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			d.Close()
			test(t, func() *Dir { return openCrippled(t, c, path) })
		})
		t.Run("mem", func(t *testing.T) {
			m := NewMem()
			test(t, func() *Dir { return c.over(t, &memFS{m: m}) })
		})
	})
}

func openCrippled(t testing.TB, c crippled, path string) *Dir {
	t.Helper()
	fs, err := openOS(path)
	if err != nil {
		t.Fatal(err)
	}
	return c.over(t, fs)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names lists what is below prefix, sorted.
func names(t testing.TB, d *Dir, prefix string) []string {
	t.Helper()
	var all []string
	must(t, d.List(ctx, prefix, func(i Info) error {
		all = append(all, i.Name)
		return nil
	}))
	slices.Sort(all)
	return all
}

// leftovers lists every file, the store's own included.
func leftovers(t testing.TB, d *Dir, dir string) []string {
	t.Helper()
	var all []string
	must(t, d.fs.readDir(dir, func(base string, st fileStat) error {
		name := filepath.Join(dir, base)
		if st.kind == kindDir {
			all = append(all, leftovers(t, d, name)...)
		} else {
			all = append(all, name)
		}
		return nil
	}))
	slices.Sort(all)
	return all
}

// randomBytes are n bytes that differ from one seed to another.
func randomBytes(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

func sameContent(t testing.TB, d *Dir, name string, want []byte) {
	t.Helper()
	got, err := d.Get(ctx, name, 1<<20)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("get %s: %d bytes, %v; want the %d bytes put", name, len(got), err, len(want))
	}
}
