package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"sync"
	"testing"
)

func TestBoxRoundTrip(t *testing.T) {
	box := NewBox(Key{1})
	for _, n := range []int{0, 1, 16, 4095, 70_000} {
		plain := bytes.Repeat([]byte{0x5a}, n)
		sealed := box.Seal([]byte("head"), 7, []byte("aad"), plain)
		if len(sealed) != len("head")+n+Overhead {
			t.Fatalf("%d bytes sealed in %d", n, len(sealed))
		}
		got, err := box.Open([]byte("to"), 7, []byte("aad"), sealed[len("head"):])
		if err != nil || !bytes.Equal(got, append([]byte("to"), plain...)) {
			t.Fatalf("%d bytes do not survive a round trip: %v", n, err)
		}
		inPlace, err := box.Open(sealed[len("head"):len("head")], 7, []byte("aad"), sealed[len("head"):])
		if err != nil || !bytes.Equal(inPlace, plain) {
			t.Fatalf("%d bytes do not open in place: %v", n, err)
		}
	}
}

func TestBoxRefuses(t *testing.T) {
	box := NewBox(Key{1})
	sealed := box.Seal(nil, 1<<40, []byte("aad"), []byte("plain"))
	flipped := bytes.Clone(sealed)
	flipped[0] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"ordinal":  func() ([]byte, error) { return box.Open(nil, 1<<40+1, []byte("aad"), sealed) },
		"aad":      func() ([]byte, error) { return box.Open(nil, 1<<40, []byte("aae"), sealed) },
		"no aad":   func() ([]byte, error) { return box.Open(nil, 1<<40, nil, sealed) },
		"key":      func() ([]byte, error) { return NewBox(Key{2}).Open(nil, 1<<40, []byte("aad"), sealed) },
		"flip":     func() ([]byte, error) { return box.Open(nil, 1<<40, []byte("aad"), flipped) },
		"shorter":  func() ([]byte, error) { return box.Open(nil, 1<<40, []byte("aad"), sealed[:len(sealed)-1]) },
		"no bytes": func() ([]byte, error) { return box.Open(nil, 1<<40, []byte("aad"), nil) },
	} {
		if got, err := open(); !errors.Is(err, ErrAuth) || got != nil {
			t.Errorf("another %s: %v, want ErrAuth and no bytes", name, err)
		}
	}
}

// The nonce is four zero bytes and the ordinal, big-endian.
func TestBoxNonce(t *testing.T) {
	key := Key{9}
	block, _ := aes.NewCipher(key[:])
	gcm, _ := cipher.NewGCM(block)
	nonce := []byte{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	want := gcm.Seal(nil, nonce, []byte("plain"), []byte("aad"))
	if got := NewBox(key).Seal(nil, 0x0102030405060708, []byte("aad"), []byte("plain")); !bytes.Equal(got, want) {
		t.Fatalf("sealed %x, want %x", got, want)
	}
}

func TestBoxDoesNotAllocate(t *testing.T) {
	box, aad, plain := NewBox(Key{1}), make([]byte, 33), make([]byte, 4096)
	sealed := make([]byte, 0, len(plain)+Overhead)
	opened := make([]byte, 0, len(plain))
	allocs := testing.AllocsPerRun(200, func() {
		sealed = box.Seal(sealed[:0], 3, aad, plain)
		if _, err := box.Open(opened, 3, aad, sealed); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations a round trip, want 0", allocs)
	}
}

func TestBoxConcurrently(t *testing.T) {
	box := NewBox(Key{1})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			plain := bytes.Repeat([]byte{byte(g)}, 1000)
			for i := range 200 {
				ordinal := uint64(g)<<32 | uint64(i)
				got, err := box.Open(nil, ordinal, nil, box.Seal(nil, ordinal, nil, plain))
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("goroutine %d, ordinal %d: %v", g, ordinal, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkBoxSeal128K(b *testing.B) {
	box, plain := NewBox(Key{1}), make([]byte, 128<<10)
	out := make([]byte, 0, len(plain)+Overhead)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		out = box.Seal(out[:0], 1, nil, plain)
	}
}
