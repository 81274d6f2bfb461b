package fusefs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/repo"
)

// manyFiles is a tree of directories with files in each.
func manyFiles(dirs, files int) *fakeTree {
	f := newFakeTree()
	content, _ := f.put(strings.NewReader("content"), 7, nil)
	var below []*repo.Entry
	for d := range dirs {
		var in []*repo.Entry
		for n := range files {
			in = append(in, &repo.Entry{Name: fmt.Sprintf("file-%06d.txt", n), Mode: 0o100644, Links: 1, Blocks: 8, Content: content,
				Mtime: repo.Timestamp{Sec: int64(n)}})
		}
		e := &repo.Entry{Name: fmt.Sprintf("dir-%04d", d), Mode: 0o40755, Links: 2}
		if err := f.dir(e, in); err != nil {
			panic(err)
		}
		below = append(below, e)
	}
	f.root = &repo.Entry{Mode: 0o40755, Links: uint32(dirs + 2)}
	if err := f.dir(f.root, below); err != nil {
		panic(err)
	}
	return f
}

// forgetAll has the kernel forget names, attributes and pages.
func forgetAll(b *testing.B) {
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWalk is of programs that walk over 100,000 files.
func BenchmarkWalk(b *testing.B) {
	for _, shape := range [][2]int{{1000, 100}, {1, 100000}} {
		r := &fakeRepository{}
		r.commitTree("tree/many", manyFiles(shape[0], shape[1]))
		dir, _ := mount(b, r, Options{})
		tree := filepath.Join(dir, "tree/many", stamp(noon))
		for _, program := range []string{"find %s", "find %s -ls", "ls -lR %s", "rsync -n -aHAX %s/ /none", "tar cf - %s | cat"} {
			b.Run(fmt.Sprintf("%dx%d/%s", shape[0], shape[1], strings.ReplaceAll(fmt.Sprintf(program, ""), " ", "_")), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					forgetAll(b)
					b.StartTimer()
					out, err := exec.Command("sh", "-c", fmt.Sprintf(program, tree)+" | wc -c").CombinedOutput()
					if err != nil {
						b.Fatal(err, string(out))
					}
				}
			})
		}
	}
}
