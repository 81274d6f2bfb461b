package store

import (
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// memFS is a process's view of a Mem.
type memFS struct {
	m *Mem
	p *Process // nil for one that is never waited for or killed
}

// find returns the node of a name, or an errno. The lock is held.
func (m *Mem) find(name string) (*memNode, error) {
	if m.crashed {
		return nil, ErrCrashed
	}
	node := m.root
	if name == "." {
		return node, nil
	}
	for elem := range strings.SplitSeq(name, "/") {
		if node.kind != kindDir {
			return nil, unix.ENOTDIR
		}
		child, ok := node.entries[elem]
		if !ok {
			return nil, unix.ENOENT
		}
		node = child
	}
	return node, nil
}

// findDir returns a directory that must exist.
func (m *Mem) findDir(name string) (*memNode, error) {
	node, err := m.find(name)
	if err == nil && node.kind != kindDir {
		return nil, unix.ENOTDIR
	}
	return node, err
}

// change is an operation on an entry: step, then fn with the directory and
// what the entry is now, or nil.
func (s *memFS) change(op, name string, fn func(dir *memNode, base string, old *memNode) error) error {
	if err := s.m.begin(s.p, op, name); err != nil {
		return err
	}
	defer s.m.mu.Unlock()
	if err := s.m.step(op, name); err != nil {
		return err
	}
	dir, err := s.m.findDir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	return fn(dir, base, dir.entries[base])
}

func (s *memFS) open(name string, _ bool) (file, error) {
	if err := s.m.begin(s.p, "open", name); err != nil {
		return nil, err
	}
	defer s.m.mu.Unlock()
	node, err := s.m.find(name)
	if err != nil {
		return nil, err
	}
	if node.kind == kindDir {
		return nil, unix.ENOENT
	}
	return s.file(node), nil
}

// file opens a node. The lock is held.
func (s *memFS) file(node *memNode) *memFile {
	f := &memFile{s.m, node, s.p}
	if s.p != nil {
		s.p.open[f] = struct{}{}
	}
	return f
}

func (s *memFS) createNameless(dir string) (file, error) {
	if err := s.m.begin(s.p, "create", dir); err != nil {
		return nil, err
	}
	defer s.m.mu.Unlock()
	if _, err := s.m.findDir(dir); err != nil {
		return nil, err
	}
	node := s.m.newNode(kindFile)
	s.m.nameless[node] = struct{}{}
	return s.file(node), nil
}

// add enters a new name.
func (s *memFS) add(op, name string, node func() *memNode) error {
	return s.change(op, name, func(dir *memNode, base string, old *memNode) error {
		if old != nil {
			return unix.EEXIST
		}
		dir.set(base, node())
		return nil
	})
}

func (s *memFS) createNamed(name string) (file, error) {
	var f *memFile
	err := s.add("create", name, func() *memNode {
		f = s.file(s.m.newNode(kindFile))
		return f.node
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *memFS) link(f file, name string) error {
	return s.add("link", name, func() *memNode {
		node := f.(*memFile).node
		delete(s.m.nameless, node)
		return node
	})
}

func (s *memFS) mkdir(name string) error {
	return s.add("mkdir", name, func() *memNode { return s.m.newNode(kindDir) })
}

func (s *memFS) rename(oldName, newName string, replace bool) error {
	return s.change("rename", oldName, func(from *memNode, base string, node *memNode) error {
		if node == nil {
			return unix.ENOENT
		}
		to, err := s.m.findDir(path.Dir(newName))
		if err != nil {
			return err
		}
		if to.entries[path.Base(newName)] != nil && !replace {
			return unix.EEXIST
		}
		from.set(base, nil)
		to.set(path.Base(newName), node)
		return nil
	})
}

func (s *memFS) unlink(name string) error {
	return s.change("unlink", name, func(dir *memNode, base string, old *memNode) error {
		if old == nil {
			return unix.ENOENT
		}
		if old.kind == kindDir {
			return unix.EISDIR
		}
		dir.set(base, nil)
		return nil
	})
}

func (s *memFS) rmdir(name string) error {
	return s.change("rmdir", name, func(dir *memNode, base string, old *memNode) error {
		switch {
		case old == nil:
			return unix.ENOENT
		case old.kind != kindDir:
			return unix.ENOTDIR
		case len(old.entries) > 0:
			return unix.ENOTEMPTY
		}
		dir.set(base, nil)
		return nil
	})
}

func (s *memFS) syncDir(name string) error {
	if err := s.m.begin(s.p, "syncdir", name); err != nil {
		return err
	}
	defer s.m.mu.Unlock()
	node, err := s.m.findDir(name)
	if err != nil {
		return err
	}
	if err := s.m.step("syncdir", name); err != nil {
		if !s.m.crashed {
			node.loseSync()
		}
		return err
	}
	node.syncEntries()
	return nil
}

func (s *memFS) stat(name string) (fileStat, error) {
	if err := s.m.begin(s.p, "stat", name); err != nil {
		return fileStat{}, err
	}
	defer s.m.mu.Unlock()
	node, err := s.m.find(name)
	if err != nil {
		return fileStat{}, err
	}
	return node.stat(), nil
}

// readDir lists entry by entry: what goes meanwhile may be listed or not, and so
// may what comes.
func (s *memFS) readDir(name string, fn func(string, fileStat) error) error {
	if err := s.m.begin(s.p, "list", name); err != nil {
		return err
	}
	dir, err := s.m.findDir(name)
	var bases []string
	if err == nil {
		bases = slices.Collect(maps.Keys(dir.entries))
	}
	s.m.mu.Unlock()
	for i := 0; i < len(bases); i++ {
		if err := s.m.begin(s.p, "list next", name); err != nil {
			return err
		}
		child := dir.entries[bases[i]]
		var st fileStat
		if child != nil {
			st = child.stat()
		}
		s.m.mu.Unlock()
		if child != nil {
			if err := fn(bases[i], st); err != nil {
				return err
			}
		}
		if i == len(bases)-1 {
			s.m.mu.Lock()
			bases = append(bases, dir.lateEntries(bases)...)
			s.m.mu.Unlock()
		}
	}
	return err
}

func (s *memFS) usage() (usage, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	free, total := s.m.free()
	return usage{free: free, total: total}, nil
}

func (s *memFS) close() error { return nil }
