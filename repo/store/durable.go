package store

import (
	"errors"
	"fmt"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// durableDirs are the directories whose own entry, and those of all above
// them, are known to be on the medium. That a directory exists is not enough:
// somebody else may have made it a moment ago and not have fsynced its parent.
type durableDirs struct {
	mu      sync.Mutex
	known   map[string]bool
	removed int // how often one was forgotten
}

func (s *durableDirs) has(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return dir == "." || s.known[dir]
}

// add enters directories that were synced since so many were forgotten. If one was
// forgotten meanwhile, it may be another of the same name that was synced.
func (s *durableDirs) add(dirs []string, since int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed != since {
		return
	}
	if s.known == nil {
		s.known = make(map[string]bool)
	}
	for _, dir := range dirs {
		s.known[dir] = true
	}
}

func (s *durableDirs) remove(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed++
	delete(s.known, dir)
}

func (s *durableDirs) since() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removed
}

// syncUp makes the entries of dir durable, and dir itself up to the root.
// The caller holds shape.
func (d *Dir) syncUp(dir string) error {
	since := d.durable.since()
	if err := d.fs.syncDir(dir); err != nil {
		return err
	}
	var fresh []string
	for ; !d.durable.has(dir); dir = path.Dir(dir) {
		if err := d.fs.syncDir(path.Dir(dir)); err != nil {
			return err
		}
		fresh = append(fresh, dir)
	}
	d.durable.add(fresh, since)
	return nil
}

// inDir calls fn, and makes dir and calls it again as long as fn says that
// something does not exist: another process may remove dir at any time. What was known
// of dir is forgotten before it is made again, and before anybody can enter a name
// into the new one.
func (d *Dir) inDir(dir string, fn func() error) error {
	var err error
	for range 10 {
		if err = fn(); !errors.Is(err, unix.ENOENT) {
			return err
		}
		if err = d.mkdirAll(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return fmt.Errorf("directory %s keeps vanishing: %v", dir, err)
}

func (d *Dir) mkdirAll(dir string) error {
	if dir == "." {
		return nil
	}
	if err := d.mkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	d.durable.remove(dir)
	if err := d.fs.mkdir(dir); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
