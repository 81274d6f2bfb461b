package store

import (
	"container/list"
	"sync"
	"time"
)

const (
	// maxHandles bounds the files that ReadAt keeps open.
	maxHandles = 64
	// idleHandle is how long a file stays open that nobody reads. One that another
	// process has deleted takes its space that long, and twice at most.
	idleHandle = 20 * time.Second
)

// handles keeps the most recently read files open. A file that is dropped
// while it is read is closed by its last reader.
type handles struct {
	mu     sync.Mutex
	max    int
	byName map[string]*list.Element // of *handle
	recent *list.List               // most recently used first
	sweep  *time.Timer              // closes idle files; nil if none is open
}

type handle struct {
	file
	name    string
	users   int
	used    time.Time // when it was last released
	dropped bool
}

func newHandles(limit int) *handles {
	return &handles{max: limit, byName: make(map[string]*list.Element), recent: list.New()}
}

// get returns a handle that must be released.
func (h *handles) get(name string, open func() (file, error)) (*handle, error) {
	if found := h.lookup(name); found != nil {
		return found, nil
	}
	f, err := open() // not under the lock: it may take long
	if err != nil {
		return nil, err
	}
	if found := h.lookup(name); found != nil {
		f.Close()
		return found, nil
	}
	return h.insert(name, f), nil
}

func (h *handles) lookup(name string) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	elem, ok := h.byName[name]
	if !ok {
		return nil
	}
	h.recent.MoveToFront(elem)
	found := elem.Value.(*handle)
	found.users++
	return found
}

func (h *handles) insert(name string, f file) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	if elem, ok := h.byName[name]; ok {
		h.evict(elem)
	}
	fresh := &handle{file: f, name: name, users: 1}
	h.byName[name] = h.recent.PushFront(fresh)
	if h.recent.Len() > h.max {
		h.evict(h.recent.Back())
	}
	if h.sweep == nil {
		h.sweep = time.AfterFunc(idleHandle, h.closeIdle)
	}
	return fresh
}

// closeIdle closes what was not read for a while, and looks again later if any
// file is open still.
func (h *handles) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var next *list.Element
	for elem := h.recent.Front(); elem != nil; elem = next {
		next = elem.Next()
		if old := elem.Value.(*handle); old.users == 0 && time.Since(old.used) >= idleHandle {
			h.evict(elem)
		}
	}
	h.sweep = nil
	if h.recent.Len() > 0 {
		h.sweep = time.AfterFunc(idleHandle, h.closeIdle)
	}
}

func (h *handles) release(old *handle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old.users--
	old.used = time.Now()
	if old.dropped && old.users == 0 {
		old.Close()
	}
}

func (h *handles) drop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if elem, ok := h.byName[name]; ok {
		h.evict(elem)
	}
}

func (h *handles) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.recent.Len() > 0 {
		h.evict(h.recent.Back())
	}
	if h.sweep != nil {
		h.sweep.Stop()
		h.sweep = nil
	}
}

// evict is called with the lock held.
func (h *handles) evict(elem *list.Element) {
	old := h.recent.Remove(elem).(*handle)
	delete(h.byName, old.name)
	old.dropped = true
	if old.users == 0 {
		old.Close()
	}
}
