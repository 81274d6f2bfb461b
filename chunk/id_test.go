package chunk

import (
	"strings"
	"sync"
	"testing"
)

// The IDs are those that `b3sum --keyed` of the BLAKE3 team prints.
func TestGoldenIDs(t *testing.T) {
	n := NewNamer(testKey)
	for _, c := range []struct {
		plain, want string
	}{
		{"", "b54fe6f9a432e254a10d31999015209281ec73f50e83e9fbbf5092b6ef8493df"},
		{"abc", "7203ef363550a4a78ad12d2285f9378648c836eed7110f54c662db1961eb0af7"},
		{strings.Repeat("vaultfs", 10000), "36bdd491cbc84095b546c0af006e0735693c61ad6bbde4fb1521256db18f70ae"},
	} {
		if got := n.Name([]byte(c.plain)).String(); got != c.want {
			t.Errorf("ID of %d bytes: %s", len(c.plain), got)
		}
	}
}

func TestIDsDependOnTheKey(t *testing.T) {
	if NewNamer(testKey).Name([]byte("x")) == NewNamer([32]byte{1}).Name([]byte("x")) {
		t.Error("two keys give one ID")
	}
}

func TestNamerIsConcurrent(t *testing.T) {
	n, plain := NewNamer(testKey), random(1, 100_000)
	want := n.Name(plain)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 50 {
				if got := n.Name(plain); got != want {
					t.Errorf("goroutine %d: %v", i, got)
				}
				n.Name(plain[:i*1000])
			}
		})
	}
	group.Wait()
}

func BenchmarkNamer(b *testing.B) {
	n, plain := NewNamer(testKey), random(1, 128<<10)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		n.Name(plain)
	}
}
