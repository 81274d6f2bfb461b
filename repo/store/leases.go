package store

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LeaseInfo describes a lease that somebody opened.
//
// A lease that is just being committed is rewritten in place. So the content
// of a living lease may be torn or be that of the coming object; whoever
// cannot make sense of it has to take it for the lease that forbids most.
type LeaseInfo struct {
	Name    string
	Content []byte // at most its first MaxLease bytes
	Alive   bool   // its owner holds the lock
	ModTime time.Time
}

// Leases returns all leases, sorted by name.
func (d *Dir) Leases(ctx context.Context) ([]LeaseInfo, error) {
	var infos []LeaseInfo
	err := d.fs.readDir(sessionsDir, func(base string, st fileStat) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if checkElement(base) != nil || st.kind == kindDir {
			return nil
		}
		info, err := d.readLease(base)
		if err != nil {
			return describe("read lease", base, err)
		}
		if info != nil {
			infos = append(infos, *info)
		}
		return nil
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, describe("list", "leases", err)
	}
	slices.SortFunc(infos, func(a, b LeaseInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

// readLease returns nil for a lease that ended meanwhile.
func (d *Dir) readLease(name string) (*LeaseInfo, error) {
	f, err := d.fs.open(leaseFile(name), false)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := probe(f)
	if err != nil {
		return nil, err
	}
	// One that was committed or released since it was opened looks dead.
	named, err := d.isNamed(f, leaseFile(name))
	if err != nil || !named {
		return nil, err
	}
	info.Name = name
	return info, nil
}

// probe asks for a shared lock, so that two probes never see each other as
// the lease's owner.
func probe(f file) (*LeaseInfo, error) {
	st, err := f.stat()
	if err != nil {
		return nil, err
	}
	free, err := f.tryLock(false)
	if err != nil {
		return nil, err
	}
	content, err := readHead(f, MaxLease)
	if err != nil {
		return nil, err
	}
	return &LeaseInfo{Content: content, Alive: !free, ModTime: st.modTime}, nil
}

// BreakLease ends somebody's lease, living or dead: once it has returned nil
// the lease can never be committed. ErrNotFound if there is none, because it
// was committed, released or broken.
func (d *Dir) BreakLease(ctx context.Context, name string) error {
	if err := checkElement(name); err != nil {
		return describe("break", "lease", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return describe("break lease", name, d.remove(leaseFile(name)))
}

// CleanTemp removes the temporary files whose writers are gone, and says how
// many. There are some only where the file system has no O_TMPFILE.
func (d *Dir) CleanTemp(ctx context.Context) (removed int, err error) {
	err = d.fs.readDir(tmpDir, func(base string, st fileStat) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if checkElement(base) != nil || st.kind != kindFile {
			return nil
		}
		gone, err := d.cleanTemp(path.Join(tmpDir, base))
		if gone {
			removed++
		}
		return describe("remove", base, err)
	})
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return removed, describe("clean", tmpDir, err)
}

// cleanTemp holds the lock while it unlinks, so that a writer that has just
// made the file finds it locked or gone, and makes another.
func (d *Dir) cleanTemp(name string) (bool, error) {
	f, err := d.fs.open(name, true) // NFS wants a writable file for the lock
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	free, err := f.tryLock(true)
	if err != nil || !free {
		return false, err
	}
	err = d.fs.unlink(name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}
