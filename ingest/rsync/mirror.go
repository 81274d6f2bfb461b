package rsync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mirrors is the directory of all mirrors in the state directory.
const mirrors = "mirrors"

// A mirror is the copy of one source:
//
//	mirrors/NAME/tree    what rsync keeps, with the attributes of the source
//	mirrors/NAME/source  what it is a copy of
//	mirrors/NAME/lock    held by who uses it
//
// Only its owner may enter mirrors/NAME, whatever the modes of what it holds.
type mirror struct {
	dir  string
	lock *os.File
}

func (m *mirror) tree() string { return filepath.Join(m.dir, "tree") }

// openMirror locks the mirror of that name, and makes it if there is none. One
// of another source is refused, unless it is to be adopted.
func openMirror(state, name, source string, adopt bool) (*mirror, error) {
	m := &mirror{dir: filepath.Join(state, mirrors, name)}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a mirror: %w", err)
	}
	if err := os.Chmod(m.dir, 0o700); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if err := m.take(); err != nil {
		return nil, err
	}
	err := m.belongTo(source, adopt)
	if err == nil {
		err = os.Mkdir(m.tree(), 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		m.close()
		return nil, fmt.Errorf("mirror %q: %w", m.dir, err)
	}
	return m, nil
}

func (m *mirror) take() (err error) {
	if m.lock, err = os.OpenFile(filepath.Join(m.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	err = unix.Flock(int(m.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return nil
	}
	m.close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("mirror %q %w", m.dir, ErrBusy)
	}
	return fmt.Errorf("mirror %q cannot be locked: %w", m.dir, err)
}

func (m *mirror) close() { _ = m.lock.Close() }

// empty tells that nothing was copied yet.
func (m *mirror) empty() bool {
	names, err := os.ReadDir(m.tree())
	return errors.Is(err, fs.ErrNotExist) || (err == nil && len(names) == 0)
}

// belongTo makes sure that the mirror is of that source: it would be emptied and
// filled anew otherwise. One that nothing was ever copied to, because the source
// was not written as it should be, belongs to nobody.
func (m *mirror) belongTo(source string, adopt bool) error {
	name := filepath.Join(m.dir, "source")
	b, err := os.ReadFile(name)
	was := strings.TrimSuffix(string(b), "\n")
	switch {
	case err == nil && was == source:
		return nil
	case err == nil && !adopt && !m.empty():
		return fmt.Errorf("is of %q, not of %q: choose another name with --name, or go on with --adopt", was, source)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return os.WriteFile(name, []byte(source+"\n"), 0o600)
}
