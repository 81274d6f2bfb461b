package tar

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/format"
)

func TestBody(t *testing.T) {
	for _, want := range []*repo.Entry{
		{Mode: modeDir | 0o755},
		{Mode: modeRegular | 0o4711, UID: 1<<32 - 1, GID: 1 << 31, Mtime: repo.Timestamp{Sec: -1 << 63, Nsec: 999999999}, Blocks: 1 << 60,
			Content: repo.Content{Kind: format.StreamContent, ID: chunk.ID{1, 31: 2}, Size: 1 << 61, Ranges: chunk.ID{3, 31: 4}}},
		{Mode: modeSymlink | 0o777, Target: "a/b\xff", Mtime: repo.Timestamp{Sec: 1<<63 - 1}},
		{Mode: modeChar, Rdev: 1<<63 | 5, Xattrs: []repo.Xattr{{Name: "a", Value: []byte{}}, {Name: "b", Value: []byte("\x00x"), Size: 2}, {Name: "c", Chunk: chunk.ID{5}, Size: 600}}},
	} {
		got := decodeBody(appendBody(nil, want))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("\n%+v\n%+v", got, want)
		}
	}
}

// A million files, in any order, take no more memory than is said.
func TestMillion(t *testing.T) {
	const files, dirs = 1_000_000, 5000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newCatalog(&repo.Entry{Mode: modeDir})
	order := rand.New(rand.NewPCG(1, 2)).Perm(files)
	e := &repo.Entry{Mode: modeRegular | 0o644, UID: 1000, GID: 1000, Content: repo.Content{Kind: format.ChunkContent, ID: chunk.ID{1}}}
	for _, i := range order {
		dir, ok := c.find(0, fmt.Sprint("directory-", i%dirs))
		if !ok {
			dir = c.add(0, fmt.Sprint("directory-", i%dirs), c.arena.put(appendBody(nil, e)), isDir|implied)
		}
		e.Mtime, e.Content.Size = repo.Timestamp{Sec: 1.7e9 + int64(i), Nsec: uint32(i)}, int64(i)
		if c.set(dir, fmt.Sprint("some-file-", i, ".txt"), c.arena.put(appendBody(nil, e)), 0) {
			t.Fatal("something was lost")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 170<<20 {
		t.Errorf("%d MiB", used>>20)
	}
	if n := len(c.children()); n != files+dirs {
		t.Errorf("%d entries", n)
	}
	for _, i := range []int{0, 1, files / 2, files - 1} {
		dir, _ := c.find(0, fmt.Sprint("directory-", i%dirs))
		at, ok := c.find(dir, fmt.Sprint("some-file-", i, ".txt"))
		if !ok || decodeBody(c.arena.at(c.nodes[at].body)).Content.Size != int64(i) {
			t.Errorf("file %d is not found, or another", i)
		}
	}
}
