package format

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func TestLooksRandom(t *testing.T) {
	data := make([]byte, 512<<10)
	for seed := range byte(50) {
		rand.NewChaCha8([32]byte{seed}).Read(data)
		for _, n := range []int{4096, 6000, 128 << 10, len(data)} {
			if !looksRandom(data[:n]) {
				t.Errorf("random bytes, %d of them, do not look so", n)
			}
		}
		if looksRandom(data[:4095]) {
			t.Error("too few bytes were judged")
		}
	}
	base64.StdEncoding.Encode(data, bytes.Clone(data[:len(data)/4*3]))
	mixed := bytes.Clone(data)
	rand.NewChaCha8([32]byte{}).Read(mixed[:len(mixed)*3/4])
	numbers, sectors := make([]byte, 128<<10), make([]byte, 512<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(numbers); i += 4 {
		binary.LittleEndian.PutUint32(numbers[i:], rng.Uint32()>>12)
	}
	for i := 0; i < len(sectors); i += 64 {
		binary.LittleEndian.PutUint64(sectors[i:], rng.Uint64()>>8)
	}
	for name, b := range map[string][]byte{
		"numbers of 20 bits": numbers, "rows that begin with a number": sectors,
		"zeros": make([]byte, 8192), "base64": data, "a quarter of text behind random bytes": mixed,
	} {
		if looksRandom(b) {
			t.Errorf("%s look random", name)
		}
	}
}
