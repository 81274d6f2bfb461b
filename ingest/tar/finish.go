package tar

import (
	"encoding/binary"
	"fmt"
	"slices"

	"vaultfs/repo"
)

// finish stores the directories and returns the tree's own entry.
func (s *storing) finish() (*repo.Entry, error) {
	s.catalog.heads = nil // nothing is looked up any more
	f := &finishing{storing: s, children: s.catalog.children()}
	f.count(0)
	root, err := f.dir(0)
	if err == nil && s.implicit > 0 {
		s.report.Notes = append(s.report.Notes, fmt.Sprintf(
			"directories that the archive has no member for: %d; they belong to root, with mode 755", s.implicit))
	}
	return root, err
}

// finishing goes over the tree when all members are known.
type finishing struct {
	*storing
	children []uint32 // by parent and name
}

// of is the nodes in a directory.
func (f *finishing) of(dir uint32) []uint32 {
	at := func(parent uint32) int {
		i, _ := slices.BinarySearchFunc(f.children, parent, func(i, parent uint32) int {
			return int(int64(f.catalog.nodes[i].parent) - int64(parent))
		})
		return i
	}
	return f.children[at(dir):at(dir+1)]
}

// count counts the paths that lead to each file below a directory, and numbers
// the files that have several.
func (f *finishing) count(dir uint32) {
	for _, i := range f.of(dir) {
		n := &f.catalog.nodes[i]
		if n.flags&isDir != 0 {
			f.count(i)
			continue
		}
		body := f.catalog.arena.at(n.body)
		links := binary.LittleEndian.Uint32(body[bodyLinks:]) + 1
		binary.LittleEndian.PutUint32(body[bodyLinks:], links)
		if links == 2 {
			f.inodes++
			binary.LittleEndian.PutUint32(body[bodyInode:], f.inodes)
		}
	}
}

// dir stores a directory with all that is below it.
func (f *finishing) dir(dir uint32) (*repo.Entry, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, err
	}
	w := f.session.NewDir()
	for _, i := range f.of(dir) {
		var e *repo.Entry
		var err error
		if n := &f.catalog.nodes[i]; n.flags&isDir != 0 {
			e, err = f.dir(i)
		} else {
			e = decodeBody(f.catalog.arena.at(n.body))
		}
		if err != nil {
			return nil, err
		}
		e.Name = string(f.catalog.name(i))
		if err := w.Add(f.ctx, e); err != nil {
			return nil, err
		}
	}
	n := &f.catalog.nodes[dir]
	e := decodeBody(f.catalog.arena.at(n.body))
	if n.flags&implied != 0 {
		f.implicit++
	}
	return e, w.Finish(f.ctx, e)
}
