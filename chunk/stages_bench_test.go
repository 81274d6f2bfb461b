package chunk

import (
	"bytes"
	"io"
	"testing"
)

// benchGuest is a disk's data with what real ones have: noise, text that repeats
// itself, zero grains amid and a long hole.
func benchGuest() []byte {
	data := random(1, 16<<20)
	text := bytes.Repeat([]byte("the same line of a log, again and again\n"), 4<<20/40)
	copy(data[3<<20+Grain:], text[:2<<20])
	for off := 6 << 20; off < 8<<20; off += 10 * Grain {
		clear(data[off : off+Grain])
	}
	clear(data[12<<20 : 13<<20])
	return data
}

// BenchmarkNext cuts a disk's data in memory as a segment's copier does.
func BenchmarkNext(b *testing.B) {
	d, data := NewDisk(testKey), benchGuest()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := data; len(rest) > 0; {
			zeros, n := d.Next(rest, true)
			rest = rest[zeros+n:]
		}
	}
}

// BenchmarkNameDisk names chunks as long as a disk's are.
func BenchmarkNameDisk(b *testing.B) {
	n, data := NewNamer(testKey), benchGuest()
	const size = 128 << 10
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n.Name(data[i*size%len(data):][:size])
	}
}

// BenchmarkStreamNext cuts a stream of the same data.
func BenchmarkStreamNext(b *testing.B) {
	data := benchGuest()
	s, buf := NewStream(bytes.NewReader(nil), testPolynomial), make([]byte, 0, StreamMax)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset(bytes.NewReader(data))
		for {
			if _, err := s.Next(buf); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
