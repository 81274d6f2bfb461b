package chunk

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
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
	if average := size / len(lengths); average < 1<<20 || average > 3<<19 {
		t.Errorf("chunks of random data have %d KiB on average", average>>10)
	}
}

func TestGoldenStreamCuts(t *testing.T) {
	lengths, _ := streamCuts(t, bytes.NewReader(random(4, 6<<20)))
	if want := []int{807761, 2589678, 1154093, 1739924}; !slices.Equal(lengths, want) {
		t.Errorf("cuts have changed: %v", lengths)
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
