package store

import (
	"container/list"
	"sync"
)

// maxHandles bounds the files that ReadAt keeps open.
const maxHandles = 64

// handles keeps the most recently read files open. A file that is dropped
// while it is read is closed by its last reader.
type handles struct {
	mu     sync.Mutex
	max    int
	byName map[string]*list.Element // of *handle
	recent *list.List               // most recently used first
}

type handle struct {
	file
	name    string
	users   int
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
	return fresh
}

func (h *handles) release(old *handle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old.users--
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
