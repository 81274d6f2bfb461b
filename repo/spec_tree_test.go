package repo_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"vaultfs/repo"
)

// A specDir is a directory node as FORMAT.md says it.
type specDir struct {
	specReader
	structured, data [][]byte
}

func (s *spec) directory(id []byte) *specDir {
	s.t.Helper()
	b := s.chunk(128, id)
	structured, data := be32(b[1:]), be32(b[5:])
	d := &specDir{specReader: specReader{s: s, rest: b[9+32*(structured+data):]}}
	s.must(b[0] == 128, "chunk of kind %d", b[0])
	for i := range structured + data {
		child := b[9+32*i:][:32]
		if i < structured {
			d.structured = append(d.structured, child)
		} else {
			d.data = append(d.data, child)
		}
	}
	return d
}

func (d *specDir) text() string {
	n := d.next()
	text := string(d.rest[:n])
	d.rest = d.rest[n:]
	return text
}

func (d *specDir) int() int64 {
	v := uint64(d.next())
	return int64(v>>1) ^ -int64(v&1)
}

// tree compares a stored tree with what was put in.
func (s *spec) tree(root []byte, want *node) {
	d := s.directory(root)
	s.must(d.next() == 0 && d.next() == 1 && d.text() == "", "the root of a tree")
	s.entry(d, want)
	d.end()
}

// entry compares what follows the name.
func (s *spec) entry(d *specDir, want *node) {
	s.t.Helper()
	e := want.entry
	for _, v := range []int64{int64(e.Mode), int64(e.UID), int64(e.GID)} {
		s.must(d.next() == v, "mode, owner, group of %+v", e)
	}
	for _, when := range []repo.Timestamp{e.Mtime, e.Ctime} {
		s.must(d.int() == when.Sec && d.next() == int64(when.Nsec), "times of %+v", e)
	}
	for _, v := range []int64{int64(e.Inode), int64(e.Device), int64(e.Links), int64(e.Blocks)} {
		s.must(d.next() == v, "inode, device, links, blocks of %+v", e)
	}
	switch {
	case e.IsRegular():
		s.content(d, want)
	case e.IsDir():
		s.must(d.next() == e.Content.Size, "size of a directory")
		node, below := d.structured[d.next()], want.totals()
		for _, v := range []uint64{below.Files, below.Dirs, below.Others, below.Bytes} {
			s.must(uint64(d.next()) == v, "%d is not what is below: %+v", v, below)
		}
		names := slices.Sorted(maps.Keys(want.below))
		left := s.entries(node, -1, names, want)
		s.must(len(left) == 0, "there are no entries %q", left)
	case e.IsSymlink():
		s.must(d.text() == e.Target, "target")
	case e.Rdev != 0:
		s.must(uint64(d.next()) == e.Rdev, "device")
	}
	s.xattrs(d, want)
}

func (s *spec) xattrs(d *specDir, want *node) {
	s.must(d.next() == int64(len(want.xattrs)), "extended attributes")
	for _, name := range slices.Sorted(maps.Keys(want.xattrs)) {
		s.must(d.text() == name, "extended attribute %s", name)
		n := d.next()
		value := d.rest
		if n > 512 {
			value = s.chunk(1, d.data[d.next()])
		} else {
			d.rest = d.rest[n:]
		}
		s.must(bytes.Equal(value[:n], want.xattrs[name]), "value of %s", name)
	}
}

// entries compares the entries of a node, and of those below it, and returns
// the names that are left.
func (s *spec) entries(id []byte, level int64, names []string, want *node) []string {
	d := s.directory(id)
	at := d.next()
	s.must(at == level || level < 0, "a node of level %d, not %d", at, level)
	for range d.next() {
		name := d.text()
		s.must(name == names[0], "the entry %q, not %q", name, names[0])
		if at == 0 {
			s.entry(d, want.below[name])
			names = names[1:]
			continue
		}
		count := d.next()
		left := s.entries(d.structured[d.next()], at-1, names, want)
		s.must(int64(len(names)-len(left)) == count, "%d entries below a node, not %d", len(names)-len(left), count)
		names = left
	}
	d.end()
	return names
}

// content compares the bytes of a file.
func (s *spec) content(d *specDir, want *node) {
	kind, size := d.next(), d.next()
	s.must(size == int64(len(want.data)), "%d bytes in a file", size)
	var stored []byte
	switch kind {
	case 1:
		stored = s.chunk(1, d.data[d.next()])
	case 2:
		stored = s.stream(d.structured[d.next()])
	}
	all := stored
	if runs := d.next(); runs > 0 {
		r := &specReader{s: s, rest: s.chunk(1, d.data[runs-1])}
		all = nil
		for range r.next() {
			gap := r.next()
			all = append(all, make([]byte, gap)...)
			n := r.next()
			all, stored = append(all, stored[:n]...), stored[n:]
		}
		r.end()
		s.must(len(stored) == 0, "%d bytes belong to no run", len(stored))
		all = append(all, strings.Repeat("\x00", int(size)-len(all))...)
	}
	s.must(bytes.Equal(all, want.data), "the bytes of a file differ")
}
