package repo

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"vaultfs/chunk"
)

// testChunk is the content of the chunk of a number, which fills it.
func testChunk(n, size int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8)}, size/2) }

func testID(n int) (id chunk.ID) {
	id[0], id[1], id[2] = byte(n), byte(n>>8), 1
	return id
}

// loadInto decodes a test chunk as a loader does.
func loadInto(n, size int) loader {
	return func(dst []byte) ([]byte, error) { return append(dst[:0], testChunk(n, size)...), nil }
}

// Many readers, in a cache that is much too small, never see bytes of another
// chunk: memory that is used again is nobody's any more.
func TestReusedMemoryIsNobodysAnyMore(t *testing.T) {
	const chunks = 48
	size := func(n int) int { return (n%4 + 1) * 16 << 10 }
	c := newChunkCache(256 << 10)
	var shared sync.Map
	var readers sync.WaitGroup
	for seed := range uint64(8) {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(1, seed))
			p := make([]byte, 64<<10)
			for range 200 {
				n := rnd.IntN(chunks)
				want := testChunk(n, size(n))
				switch rnd.IntN(8) {
				case 0:
					b, err := c.share(testID(n), loadInto(n, size(n)))
					if err != nil {
						t.Error(err)
					}
					shared.Store(n, b)
				case 1, 2, 3:
					got, err := c.read(p[:size(n)], testID(n), loadInto(n, size(n)))
					if err != nil || got != size(n) || !bytes.Equal(p[:got], want) {
						t.Errorf("chunk %d: other bytes were read (%d, %v)", n, got, err)
					}
				default:
					e, err := c.use(testID(n), int64(size(n)), loadInto(n, size(n)))
					if err != nil || !bytes.Equal(e.bytes, want) {
						t.Errorf("chunk %d: other bytes were found (%v)", n, err)
					}
					c.release(e)
				}
			}
		})
	}
	readers.Wait()
	shared.Range(func(n, b any) bool {
		if !bytes.Equal(b.([]byte), testChunk(n.(int), size(n.(int)))) {
			t.Errorf("chunk %d: what was shared has changed", n)
		}
		return true
	})
	checkWeight(t, c)
}

// checkWeight compares what a cache that nobody uses says with what it holds.
func checkWeight(t *testing.T, c *chunkCache) {
	t.Helper()
	var weight, spare int64
	for _, e := range c.chunks {
		if e.users != 0 || e.place == nil {
			t.Errorf("chunk %v: %d users, in order: %v", e.id, e.users, e.place != nil)
		}
		weight += e.weight
	}
	for _, memory := range c.spare.bySize {
		for _, b := range memory {
			spare += int64(cap(b))
		}
	}
	if weight != c.weight || (weight > c.limit && len(c.chunks) > 1) || len(c.chunks) != c.order.Len() {
		t.Errorf("%d bytes in %d chunks, %d in order, it says %d of %d", weight, len(c.chunks), c.order.Len(), c.weight, c.limit)
	}
	if spare != c.spare.bytes || spare > spareLimit {
		t.Errorf("%d bytes of spare memory, it says %d", spare, c.spare.bytes)
	}
}

// However many want a chunk at a time, it is decoded once, whoever of them is first.
func TestAChunkIsDecodedOnce(t *testing.T) {
	const size = 64 << 10
	for _, first := range []string{"use", "read"} {
		t.Run(first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newChunkCache(1 << 20)
				var loads atomic.Int32
				let := make(chan struct{})
				load := func(dst []byte) ([]byte, error) {
					loads.Add(1)
					<-let
					return loadInto(7, size)(dst)
				}
				use := func() {
					e, err := c.use(testID(7), size, load)
					if err != nil || !bytes.Equal(e.bytes, testChunk(7, size)) {
						t.Errorf("used: %v", err)
					}
					c.release(e)
				}
				read := func() {
					p := make([]byte, size)
					if n, err := c.read(p, testID(7), load); err != nil || n != size || !bytes.Equal(p, testChunk(7, size)) {
						t.Errorf("read %d bytes: %v", n, err)
					}
				}
				if first == "use" {
					go use()
				} else {
					go read()
				}
				synctest.Wait()
				for range 3 {
					go use()
					go read()
				}
				synctest.Wait()
				close(let)
				synctest.Wait()
				if n := loads.Load(); n != 1 {
					t.Errorf("decoded %d times", n)
				}
				checkWeight(t, c)
			})
		})
	}
}

// An error is told to all who wait, and the next reader tries again.
func TestAChunkThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChunkCache(1 << 20)
		let, bad := make(chan struct{}), errors.New("cannot be read")
		fail := func([]byte) ([]byte, error) { <-let; return nil, bad }
		var failed atomic.Int32
		for i := range 6 {
			go func() {
				_, err := c.use(testID(1), 4096, fail)
				if i%2 == 0 {
					_, err = c.read(make([]byte, 4096), testID(1), fail)
				}
				if errors.Is(err, bad) {
					failed.Add(1)
				}
			}()
		}
		synctest.Wait()
		close(let)
		synctest.Wait()
		if n := failed.Load(); n != 6 || c.holds(testID(1)) {
			t.Errorf("%d of 6 were told; held: %v", n, c.holds(testID(1)))
		}
		if e, err := c.use(testID(1), 4096, loadInto(1, 4096)); err != nil {
			t.Error(err)
		} else {
			c.release(e)
		}
		checkWeight(t, c)
	})
}

// A chunk of another length than was thought is told by its length, and never cut
// off or filled up.
func TestAChunkOfAnotherLength(t *testing.T) {
	for _, has := range []int{0, 2048, 4096, 8192, 1 << 20} {
		t.Run(fmt.Sprint(has), func(t *testing.T) {
			c := newChunkCache(4 << 20)
			p := make([]byte, 4096)
			for range 2 { // missing, then held
				if n, err := c.read(p, testID(3), loadInto(3, has)); n != has || err != nil {
					t.Errorf("read %d bytes, %v", n, err)
				}
			}
			e, err := c.use(testID(3), 4096, loadInto(3, has))
			if err != nil || !bytes.Equal(e.bytes, testChunk(3, has)) {
				t.Errorf("%d bytes, %v", len(e.bytes), err)
			}
			c.release(e)
			checkWeight(t, c)
		})
	}
}

// The memory of a chunk that is dropped is that of the next one, unless somebody
// still uses it or keeps it.
func TestDroppedMemoryTakesTheNextChunk(t *testing.T) {
	const size = 128 << 10
	c := newChunkCache(1) // holds one at a time
	begin := func(n int) *byte {
		e, err := c.use(testID(n), size, loadInto(n, size))
		if err != nil {
			t.Fatal(err)
		}
		c.release(e)
		return &e.bytes[0]
	}
	kept, err := c.share(testID(0), loadInto(0, size))
	if err != nil {
		t.Fatal(err)
	}
	used, err := c.use(testID(1), size, loadInto(1, size))
	if err != nil {
		t.Fatal(err)
	}
	first := begin(2)
	if second := begin(3); first == &kept[0] || first == &used.bytes[0] || second == &kept[0] || second == &used.bytes[0] {
		t.Error("memory that is in use was taken")
	}
	if begin(4) != first {
		t.Error("memory of a dropped chunk was not used again")
	}
	c.release(used)
	checkWeight(t, c)
}

func BenchmarkChunkCacheMiss(b *testing.B) {
	const size = 128 << 10
	c := newChunkCache(chunkCacheSize)
	b.SetBytes(size)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		e, err := c.use(testID(n%4096), size, func(dst []byte) ([]byte, error) { return dst[:size], nil })
		if err != nil {
			b.Fatal(err)
		}
		c.release(e)
	}
}

func BenchmarkChunkCacheHit(b *testing.B) {
	const size = 128 << 10
	c := newChunkCache(chunkCacheSize)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		e, err := c.use(testID(n%100), size, func(dst []byte) ([]byte, error) { return dst[:size], nil })
		if err != nil {
			b.Fatal(err)
		}
		c.release(e)
	}
}
