package repo

import (
	"container/list"
	"sync"

	"vaultfs/chunk"
)

// A chunkCache keeps decoded chunks up to a number of bytes, the least recently
// used going first. A missing one is loaded once, however many ask for it; an
// error is told to all who wait and not kept. The memory of a chunk that was
// dropped, and that nobody uses any more, takes the next one: else a reader of a
// whole disk would leave as much garbage behind as the disk is large. Plain LRU on
// purpose: a frequency-based policy drops what read-ahead has just brought in and
// nobody has read yet.
type chunkCache struct {
	mu     sync.Mutex
	limit  int64 // bytes
	weight int64
	chunks map[chunk.ID]*cachedChunk
	order  *list.List // of those that are loaded, the most recently used first
	spare  spareMemory
}

// A cachedChunk is loaded or on its way.
type cachedChunk struct {
	id     chunk.ID
	loaded chan struct{} // closed when bytes or err are there
	bytes  []byte        // nobody writes to them
	err    error

	// The cache's lock guards these.
	memory []byte // that bytes lie in, and that can be used again; nil if they lie elsewhere
	users  int    // who have not released it yet
	weight int64
	place  *list.Element // nil while it is on its way, and once it is dropped
}

// chunkOverhead is about what the cache itself takes for a chunk, in bytes.
const chunkOverhead = 256

// A loader decodes a chunk, into dst when that has the room.
type loader func(dst []byte) ([]byte, error)

func newChunkCache(limit int64) *chunkCache {
	return &chunkCache{limit: limit, chunks: map[chunk.ID]*cachedChunk{}, order: list.New()}
}

// use returns a chunk of size bytes, or about as many. It must be released, and its
// bytes are not looked at after that.
func (c *chunkCache) use(id chunk.ID, size int64, load loader) (*cachedChunk, error) {
	e, mine := c.begin(id)
	if !mine {
		return c.wait(e)
	}
	memory := c.take(size)
	b, err := load(memory)
	c.finish(e, b, memory, err)
	return e, err
}

// share returns a chunk's bytes to who keeps them for as long as he likes.
func (c *chunkCache) share(id chunk.ID, load loader) ([]byte, error) {
	e, mine := c.begin(id)
	if mine {
		b, err := load(nil)
		c.finish(e, b, nil, err)
	} else if _, err := c.wait(e); err != nil {
		return nil, err
	}
	c.mu.Lock()
	e.memory = nil
	c.mu.Unlock()
	defer c.release(e)
	return e.bytes, e.err
}

// read fills p with a chunk of that length, and returns how many bytes the chunk
// really has. One that is missing is decoded where it is wanted, and not kept unless
// others have asked for it meanwhile.
func (c *chunkCache) read(p []byte, id chunk.ID, load loader) (n int, err error) {
	e, mine := c.begin(id)
	if !mine {
		if _, err := c.wait(e); err != nil {
			return 0, err
		}
		defer c.release(e)
		if len(e.bytes) == len(p) {
			copy(p, e.bytes)
		}
		return len(e.bytes), nil
	}
	b, err := load(p[:0:len(p)])
	if len(b) == len(p) || err != nil {
		if c.alone(e, err) {
			return len(b), err
		}
	}
	memory := c.take(int64(len(b)))
	c.finish(e, append(memory, b...), memory, nil)
	c.release(e)
	return len(b), nil
}

// begin finds a chunk, or makes a place for it that is the caller's to fill.
func (c *chunkCache) begin(id chunk.ID) (e *cachedChunk, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e = c.chunks[id]; e != nil {
		e.users++
		if e.place != nil {
			c.order.MoveToFront(e.place)
		}
		return e, false
	}
	e = &cachedChunk{id: id, loaded: make(chan struct{}), users: 1}
	c.chunks[id] = e
	return e, true
}

// wait waits until a chunk is loaded, and releases one that could not be.
func (c *chunkCache) wait(e *cachedChunk) (*cachedChunk, error) {
	<-e.loaded
	if e.err != nil {
		c.release(e)
		return nil, e.err
	}
	return e, nil
}

// finish enters a chunk whose bytes lie in memory, or elsewhere.
func (c *chunkCache) finish(e *cachedChunk, b, memory []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(e.loaded)
	switch {
	case err != nil:
		c.spare.give(memory)
		c.forget(e, err)
		return
	case len(b) > 0 && cap(memory) > 0 && &b[0] == &memory[:1][0]:
		e.memory = memory
	default:
		c.spare.give(memory)
	}
	e.bytes = b
	e.place, e.weight = c.order.PushFront(e), int64(max(cap(b), cap(e.memory)))+chunkOverhead
	c.weight += e.weight
	for c.weight > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back().Value.(*cachedChunk))
	}
}

// alone ends the loading of a chunk that is not kept. It is false, and nothing is
// done, if there are others who wait for its bytes.
func (c *chunkCache) alone(e *cachedChunk, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && e.users > 1 {
		return false
	}
	c.forget(e, err)
	close(e.loaded)
	return true
}

// forget is called with the lock held.
func (c *chunkCache) forget(e *cachedChunk, err error) {
	e.err = err
	delete(c.chunks, e.id)
}

// drop is called with the lock held.
func (c *chunkCache) drop(e *cachedChunk) {
	c.order.Remove(e.place)
	e.place = nil
	delete(c.chunks, e.id)
	c.weight -= e.weight
	c.reuse(e)
}

// reuse is called with the lock held.
func (c *chunkCache) reuse(e *cachedChunk) {
	if e.place == nil && e.users == 0 && e.memory != nil {
		c.spare.give(e.memory)
		e.memory, e.bytes = nil, nil
	}
}

// release ends what use has begun.
func (c *chunkCache) release(e *cachedChunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.users--
	c.reuse(e)
}

// holds tells whether a chunk is there or on its way.
func (c *chunkCache) holds(id chunk.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chunks[id] != nil
}

func (c *chunkCache) take(size int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spare.take(size)
}
