package store

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A fuseFS is as FUSE file systems may be that are made over a directory: they
// make files without a name, and then have no path by which to link them.
type fuseFS struct{ fileSystem }

func (f fuseFS) usage() (usage, error) {
	u, err := f.fileSystem.usage()
	u.magic = unix.FUSE_SUPER_MAGIC
	return u, err
}

func (f fuseFS) createNameless(dir string) (file, error) {
	made, err := f.fileSystem.createNameless(dir)
	return nameless{made}, err
}

func (f fuseFS) link(from file, name string) error {
	if _, ok := from.(nameless); ok {
		return unix.EXDEV
	}
	return f.fileSystem.link(from, name)
}

type nameless struct{ file }

func TestFilesWithoutNameAreNotReliedOnUnderFUSE(t *testing.T) {
	d, err := newDir(fuseFS{&memFS{m: NewMem()}})
	must(t, err)
	defer d.Close()
	must(t, d.Put(ctx, "packs/s/a", []byte("data")))
	must(t, writeIn(d, 2, "packs/s/b", []byte("data")))
	l, err := d.OpenLease(ctx, "s", []byte("lease"))
	must(t, err)
	must(t, l.Commit(ctx, []byte("manifest"), "snapshots/s"))
	sameContent(t, d, "snapshots/s", []byte("manifest"))
	if all := leftovers(t, d, "."); !slices.Equal(all, []string{"packs/s/a", "packs/s/b", "snapshots/s"}) {
		t.Fatalf("files %v", all)
	}
}
