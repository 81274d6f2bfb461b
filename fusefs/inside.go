package fusefs

import (
	"fmt"
	"slices"

	"vaultfs/repo"
)

// form is what an entry of a snapshot is shown as.
type form uint8

const (
	directory  form = iota
	plainFile       // a file as it was stored
	rawDisk         // a disk's bytes
	qcow2Disk       // a disk as a qcow2 file
	treeRoot        // the root of a stored tree
	vmaArchive      // a VMA archive, computed
)

// entry is a directory or a file inside a snapshot.
type entry struct {
	path     string // escaped, relative to the snapshot's directory; "" for that itself
	form     form
	item     repo.Item         // of a file or a tree
	archive  *archive          // of a VMA archive
	children map[string]*entry // of a directory, by name
	names    []string          // of the children, sorted
}

// layOut makes the tree of a snapshot's inside.
func layOut(s *repo.Snapshot) *entry {
	if len(s.Items) == 1 && s.Items[0].Kind == repo.ItemTree && s.Items[0].Name == repo.WholeTree {
		return &entry{form: treeRoot, item: s.Items[0]}
	}
	root := newDirectory("")
	for _, it := range s.Items {
		switch it.Kind {
		case repo.ItemDisk:
			disks := root.descend(disksName)
			disks.put(escape(it.Name)+".raw", entry{form: rawDisk, item: it})
			disks.put(escape(it.Name)+".qcow2", entry{form: qcow2Disk, item: it})
		case repo.ItemFile:
			root.place(it, plainFile)
		case repo.ItemTree:
			root.place(it, treeRoot)
		}
	}
	root.sort()
	return root
}

func newDirectory(path string) *entry {
	return &entry{path: path, form: directory, children: map[string]*entry{}}
}

// descend returns the directory of a name, which it makes if need be.
func (e *entry) descend(name string) *entry {
	free := e.free(name, func(taken *entry) bool { return taken.form == directory })
	if e.children[free] == nil {
		e.children[free] = newDirectory(join(e.path, free))
	}
	return e.children[free]
}

// place adds a file or a tree under its item's name, which may be a path.
func (e *entry) place(it repo.Item, f form) {
	path := itemPath(it.Name)
	for _, name := range path[:len(path)-1] {
		e = e.descend(name)
	}
	e.put(path[len(path)-1], entry{form: f, item: it})
}

// put adds a file or a tree. A name that is taken gets a number.
func (e *entry) put(name string, file entry) {
	name = e.free(name, func(*entry) bool { return false })
	file.path = join(e.path, name)
	e.children[name] = &file
}

// free returns the first of name, name-2, name-3… that is not taken, or is by
// an entry that will do.
func (e *entry) free(name string, willDo func(*entry) bool) string {
	try := name
	for n := 2; e.children[try] != nil && !willDo(e.children[try]); n++ {
		try = fmt.Sprintf("%s-%d", name, n)
	}
	return try
}

func (e *entry) sort() {
	for name, child := range e.children {
		e.names = append(e.names, name)
		child.sort()
	}
	slices.Sort(e.names)
}
