package fusefs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"vaultfs/repo"
)

// sourceDir is a directory outside of snapshots: the root, a component of a
// source's name, or a source. One may be a source and lead to others.
type sourceDir struct {
	path      string // escaped, relative to the root; "" for the root
	dirs      map[string]*sourceDir
	snapshots map[string]*snapshot
	latest    *snapshot // nil if the directory is not a source
	time      time.Time // of the newest snapshot below; the zero time if there is none
}

// snapshot is a snapshot and the name of its directory.
type snapshot struct {
	*repo.Snapshot
	path   string        // escaped, relative to the root
	name   string        // the last component of path
	inside func() *entry // laid out when it is first needed
}

// arrange makes the tree of the sources of some snapshots. The names it gives
// depend on nothing but them.
func arrange(snapshots []*repo.Snapshot) *sourceDir {
	ordered := slices.SortedFunc(slices.Values(snapshots), func(a, b *repo.Snapshot) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
	})
	root := newSourceDir("")
	for _, s := range ordered {
		root.add(s)
	}
	return root
}

func newSourceDir(path string) *sourceDir {
	return &sourceDir{path: path, dirs: map[string]*sourceDir{}, snapshots: map[string]*snapshot{}}
}

// add puts a snapshot in its source's directory. Those of a source have to be
// added in their order.
func (d *sourceDir) add(s *repo.Snapshot) {
	d.touch(s.Time)
	for component := range strings.SplitSeq(s.Source, "/") {
		d = d.subdir(sourceName(component))
		d.touch(s.Time)
	}
	name := stamp(s.Time)
	for n := 2; d.snapshots[name] != nil; n++ {
		name = fmt.Sprintf("%s-%d", stamp(s.Time), n)
	}
	d.latest = &snapshot{
		Snapshot: s,
		path:     join(d.path, name),
		name:     name,
		inside:   sync.OnceValue(func() *entry { return layOut(s) }),
	}
	d.snapshots[name] = d.latest
}

func (d *sourceDir) touch(t time.Time) {
	if t.After(d.time) {
		d.time = t
	}
}

func (d *sourceDir) subdir(name string) *sourceDir {
	if d.dirs[name] == nil {
		d.dirs[name] = newSourceDir(join(d.path, name))
	}
	return d.dirs[name]
}

// at finds the directory of a path, and nil if there is none any more.
func (d *sourceDir) at(path string) *sourceDir {
	if path == "" {
		return d
	}
	for name := range strings.SplitSeq(path, "/") {
		if d = d.dirs[name]; d == nil {
			return nil
		}
	}
	return d
}

func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}
