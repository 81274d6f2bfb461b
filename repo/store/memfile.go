package store

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// memFile is an open file of a Mem.
type memFile struct {
	m    *Mem
	node *memNode
	p    *Process // that opened it, or nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.m.lock(f.p); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if f.m.crashed {
		return 0, ErrCrashed
	}
	return bytes.NewReader(f.node.data).ReadAt(p, off)
}

// modify is an operation on the content. It is told of a failure, not of a crash.
func (f *memFile) modify(op string, fn func(err error)) error {
	if err := f.m.begin(f.p, op, f.node); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	err := f.m.step(op, f.node)
	if !f.m.crashed {
		fn(err)
	}
	return err
}

func (f *memFile) write(p []byte, off int64) error {
	var full error
	failed := f.modify("write", func(err error) {
		old := f.node.data
		grows := off + int64(len(p)) - int64(len(old))
		if free, _ := f.m.free(); err == nil && grows > free {
			full = unix.ENOSPC
		}
		if err != nil || full != nil {
			p = p[:len(p)/2]
		}
		data := make([]byte, max(int64(len(old)), off+int64(len(p))))
		copy(data, old)
		copy(data[off:], p)
		f.node.data, f.node.modTime = data, time.Now()
	})
	if failed == nil {
		return full
	}
	return failed
}

func (f *memFile) truncate() error {
	return f.modify("truncate", func(err error) {
		if err == nil {
			f.node.data = nil
		}
	})
}

func (f *memFile) sync() error {
	return f.modify("sync", func(err error) {
		if err != nil {
			f.node.loseSync()
			return
		}
		f.node.syncData()
	})
}

func (f *memFile) tryLock(exclusive bool) (bool, error) {
	if err := f.m.begin(f.p, "lock", f.node); err != nil {
		return false, err
	}
	defer f.m.mu.Unlock()
	if f.m.crashed {
		return false, ErrCrashed
	}
	return f.node.lock(f, exclusive), nil
}

func (f *memFile) stat() (fileStat, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.node.stat(), nil
}

func (f *memFile) dropCache() error { return nil }

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.node.unlock(f)
	delete(f.m.nameless, f.node)
	if f.p != nil {
		delete(f.p.open, f)
	}
	return nil
}
