package repo

import (
	"container/list"
	"sync"
)

// A cache keeps values up to a total weight, the least recently used going
// first. A missing value is loaded once, however many ask for it; an error is
// told to all who wait and not kept.
type cache[K comparable, V any] struct {
	mu      sync.Mutex
	limit   int64
	weight  int64
	entries map[K]*list.Element
	order   *list.List // most recently used first
	loading map[K]*load[V]
}

type cached[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

type load[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newCache[K comparable, V any](limit int64) *cache[K, V] {
	return &cache[K, V]{limit: limit, entries: map[K]*list.Element{}, order: list.New(), loading: map[K]*load[V]{}}
}

// get returns the value of a key, which fetch makes together with its weight
// if the cache does not hold it.
func (c *cache[K, V]) get(key K, fetch func() (V, int64, error)) (V, error) {
	c.mu.Lock()
	if e, ok := c.entries[key]; ok {
		c.order.MoveToFront(e)
		v := e.Value.(*cached[K, V]).value
		c.mu.Unlock()
		return v, nil
	}
	if l, ok := c.loading[key]; ok {
		c.mu.Unlock()
		<-l.done
		return l.value, l.err
	}
	l := &load[V]{done: make(chan struct{})}
	c.loading[key] = l
	c.mu.Unlock()

	var weight int64
	l.value, weight, l.err = fetch()
	c.mu.Lock()
	delete(c.loading, key)
	if l.err == nil {
		c.add(key, l.value, weight)
	}
	c.mu.Unlock()
	close(l.done)
	return l.value, l.err
}

func (c *cache[K, V]) add(key K, value V, weight int64) {
	c.entries[key] = c.order.PushFront(&cached[K, V]{key, value, weight})
	c.weight += weight
	for c.weight > c.limit && c.order.Len() > 1 {
		last := c.order.Remove(c.order.Back()).(*cached[K, V])
		delete(c.entries, last.key)
		c.weight -= last.weight
	}
}
