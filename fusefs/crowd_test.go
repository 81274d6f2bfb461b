package fusefs

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
)

// TestCrowd walks over many more files than the kernel may remember.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const dirs, files, limit = 60, 200, 1000
	const most = 2 * limit // an answer that is under way may bring back what is being forgotten
	r := &fakeRepository{}
	r.commitTree("tree/many", manyFiles(dirs, files))
	reported := new(sink)
	shown := newTree(t.Context(), r, &fakePin{}, nil, owner{}, reported.log)
	shown.crowd.limit = limit
	dir := t.TempDir()
	served, err := shown.mount(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := served.Unmount(); err != nil {
			exec.CommandContext(context.Background(), "umount", "-l", dir).Run()
			t.Error(err)
		}
		shown.close()
	}()
	for range 2 {
		out := run(t, "find", filepath.Join(dir, "tree/many", stamp(noon)), "-ls")
		if n := strings.Count(out, "\n"); n != 1+dirs+dirs*files {
			t.Errorf("find lists %d paths", n)
		}
	}
	left := 0
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if left = countFiles(shown.root.EmbeddedInode()); left <= most {
			break
		}
	}
	if left > most || left == 0 {
		t.Errorf("%d files are remembered, %d are enough", left, limit)
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// countFiles counts the files below a node that the kernel remembers.
func countFiles(n *fs.Inode) (count int) {
	for _, child := range n.Children() {
		if child.IsDir() {
			count += countFiles(child)
		} else {
			count++
		}
	}
	return count
}
