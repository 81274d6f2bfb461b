package chunk

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/restic/chunker"
)

// testPolynomial is irreducible, of degree 53.
const testPolynomial = 0x3DA3358B4DC173

func streamCuts(t testing.TB, r io.Reader) (lengths []int, all []byte) {
	t.Helper()
	s, buf := NewStream(r, testPolynomial), make([]byte, 0, StreamMax)
	for {
		p, err := s.Next(buf)
		if errors.Is(err, io.EOF) {
			return lengths, all
		}
		if err != nil {
			t.Fatal(err)
		}
		lengths, all = append(lengths, len(p)), append(all, p...)
	}
}

func TestStreamChunksJoinToTheStream(t *testing.T) {
	for _, size := range []int{0, 1, StreamMin - 1, StreamMin, StreamMin + 1, 3 << 20, 24 << 20} {
		want := random(1, size)
		lengths, got := streamCuts(t, bytes.NewReader(want))
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes come back different", size)
		}
		for i, n := range lengths {
			if n > StreamMax || (n < StreamMin && i < len(lengths)-1) {
				t.Errorf("%d bytes: chunk %d of %d has %d", size, i, len(lengths), n)
			}
		}
	}
}

func TestReaderDoesNotMoveStreamCuts(t *testing.T) {
	want := random(2, 6<<20)
	lengths, _ := streamCuts(t, bytes.NewReader(want))
	halves, _ := streamCuts(t, iotest.HalfReader(bytes.NewReader(want)))
	if !slices.Equal(lengths, halves) {
		t.Errorf("%v, in halves %v", lengths, halves)
	}
}

func TestStreamCutterTellsReadErrors(t *testing.T) {
	broken := errors.New("broken pipe")
	s := NewStream(io.MultiReader(bytes.NewReader(random(1, 1000)), iotest.ErrReader(broken)), testPolynomial)
	if p, err := s.Next(nil); !errors.Is(err, broken) {
		t.Errorf("%d bytes and %v", len(p), err)
	}
}

func TestAverageStreamChunk(t *testing.T) {
	const size = 48 << 20
	lengths, _ := streamCuts(t, bytes.NewReader(random(3, size)))
	if average := size / len(lengths); average < 350<<10 || average > 450<<10 {
		t.Errorf("chunks of random data have %d KiB on average", average>>10)
	}
}

func TestGoldenStreamCuts(t *testing.T) {
	lengths, _ := streamCuts(t, bytes.NewReader(random(4, 6<<20)))
	if want := []int{225743, 289133, 292885, 974743, 668928, 340933, 428923, 176151, 1154093, 478427, 377321, 587646, 137289, 159241}; !slices.Equal(lengths, want) {
		t.Errorf("cuts have changed: %v", lengths)
	}
}

// A cutter that was used before cuts as a new one, wherever it was stopped, and
// both as the library's own reader does.
func TestResetStreamCutsAsNew(t *testing.T) {
	s, buf := NewStream(nil, testPolynomial), make([]byte, 0, StreamMax)
	for _, size := range []int{5 << 20, 100, 0, StreamMin, 3 << 20, 7<<20 + 1} {
		b := random(byte(size), size)
		s.Reset(bytes.NewReader(random(9, 2<<20))) // that is not read to its end
		for range size % 3 {
			if _, err := s.Next(buf); err != nil {
				t.Fatal(err)
			}
		}
		s.Reset(bytes.NewReader(b))
		var got, want []int
		for p, err := s.Next(buf); err == nil; p, err = s.Next(buf) {
			got = append(got, len(p))
		}
		library := chunker.New(bytes.NewReader(b), testPolynomial, chunker.WithBoundaries(StreamMin, StreamMax), chunker.WithAverageBits(streamBits))
		for c, err := library.Next(buf); err == nil; c, err = library.Next(buf) {
			want = append(want, int(c.Length))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d bytes are cut %v, want %v", size, got, want)
		}
	}
	fails := errors.New("the medium is gone")
	s.Reset(io.MultiReader(bytes.NewReader(random(1, 1000)), iotest.ErrReader(fails)))
	if _, err := s.Next(buf); !errors.Is(err, fails) {
		t.Errorf("a reader that fails: %v", err)
	}
}

func TestPolynomials(t *testing.T) {
	a, err := NewPolynomial()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewPolynomial()
	if err != nil {
		t.Fatal(err)
	}
	if a == b || !ValidPolynomial(a) || !ValidPolynomial(b) || !ValidPolynomial(testPolynomial) {
		t.Errorf("polynomials %x and %x", a, b)
	}
	for _, p := range []uint64{0, 1, 2, testPolynomial ^ 1, testPolynomial << 1, testPolynomial >> 1, 1 << 53, ^uint64(0)} {
		if ValidPolynomial(p) {
			t.Errorf("polynomial %x passes for irreducible of degree 53", p)
		}
	}
}

func BenchmarkStreamCutter(b *testing.B) {
	stream := random(5, 16<<20)
	b.SetBytes(int64(len(stream)))
	buf := make([]byte, 0, StreamMax)
	for b.Loop() {
		s := NewStream(bytes.NewReader(stream), testPolynomial)
		for {
			if _, err := s.Next(buf); err != nil {
				break
			}
		}
	}
}

// A reader that says of itself that it was cut off is not one that has ended.
func TestStreamThatIsCutOffIsAnError(t *testing.T) {
	for _, size := range []int{0, 1000, streamBuffer, 3 << 20} {
		s := NewStream(io.MultiReader(bytes.NewReader(random(1, size)), iotest.ErrReader(io.ErrUnexpectedEOF)), testPolynomial)
		var err error
		for n := 0; err == nil && n <= size/StreamMin+1; n++ {
			_, err = s.Next(nil)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", size, err)
		}
	}
}
