package store

import (
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// memFS is a process's view of a Mem.
type memFS struct{ m *Mem }

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
func (m *Mem) change(op, name string, fn func(dir *memNode, base string, old *memNode) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step(op, name); err != nil {
		return err
	}
	dir, err := m.findDir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	return fn(dir, base, dir.entries[base])
}

func (s *memFS) open(name string, _ bool) (file, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	node, err := s.m.find(name)
	if err != nil {
		return nil, err
	}
	if node.kind == kindDir {
		return nil, unix.ENOENT
	}
	return &memFile{s.m, node}, nil
}

func (s *memFS) createNameless(dir string) (file, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if _, err := s.m.findDir(dir); err != nil {
		return nil, err
	}
	return &memFile{s.m, s.m.newNode(kindFile)}, nil
}

// add enters a new name.
func (m *Mem) add(op, name string, node func() *memNode) error {
	return m.change(op, name, func(dir *memNode, base string, old *memNode) error {
		if old != nil {
			return unix.EEXIST
		}
		dir.set(base, node())
		return nil
	})
}

func (s *memFS) createNamed(name string) (file, error) {
	var node *memNode
	err := s.m.add("create", name, func() *memNode {
		node = s.m.newNode(kindFile)
		return node
	})
	if err != nil {
		return nil, err
	}
	return &memFile{s.m, node}, nil
}

func (s *memFS) link(f file, name string) error {
	return s.m.add("link", name, func() *memNode { return f.(*memFile).node })
}

func (s *memFS) mkdir(name string) error {
	return s.m.add("mkdir", name, func() *memNode { return s.m.newNode(kindDir) })
}

func (s *memFS) rename(oldName, newName string, replace bool) error {
	return s.m.change("rename", oldName, func(from *memNode, base string, node *memNode) error {
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
	return s.m.change("unlink", name, func(dir *memNode, base string, old *memNode) error {
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
	return s.m.change("rmdir", name, func(dir *memNode, base string, old *memNode) error {
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
	s.m.mu.Lock()
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
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	node, err := s.m.find(name)
	if err != nil {
		return fileStat{}, err
	}
	return node.stat(), nil
}

func (s *memFS) readDir(name string, fn func(string, fileStat) error) error {
	s.m.mu.Lock()
	node, err := s.m.findDir(name)
	var bases []string
	if err == nil {
		bases = slices.Collect(maps.Keys(node.entries))
	}
	s.m.mu.Unlock()
	for _, base := range bases {
		s.m.mu.Lock()
		child := node.entries[base]
		var st fileStat
		if child != nil {
			st = child.stat()
		}
		s.m.mu.Unlock()
		if child == nil {
			continue
		}
		if err := fn(base, st); err != nil {
			return err
		}
	}
	return err
}

func (s *memFS) usage() (usage, error) { return usage{free: 1 << 40, total: 1 << 40}, nil }
func (s *memFS) close() error          { return nil }
