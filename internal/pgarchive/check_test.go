package pgarchive

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// A writer makes archives as pg_dump does.
type writer struct {
	bytes.Buffer
	version Version
	intSize int
}

func (w *writer) int(n int64) {
	sign := byte(0)
	if n < 0 {
		sign, n = 1, -n
	}
	w.WriteByte(sign)
	for range w.intSize {
		w.WriteByte(byte(n))
		n >>= 8
	}
}

func (w *writer) string(s string) { w.int(int64(len(s))); w.WriteString(s) }
func (w *writer) null()           { w.int(-1) }

func (w *writer) head(compression byte) {
	w.WriteString(Magic)
	w.Write([]byte{byte(w.version >> 8), byte(w.version), 0, byte(w.intSize), 8, 1})
	if w.version >= namedAlgorithm {
		w.WriteByte(compression)
	} else {
		w.int(int64(compression))
	}
	for _, n := range []int64{59, 30, 18, 21, 10, 126, 0} {
		w.int(n)
	}
	w.string("orders")
	w.string("15.18")
	w.string("16.2")
}

// entry writes an entry; without data the state is that of none.
func (w *writer) entry(id int64, kind, tag string, state byte, at int64) {
	w.int(id)
	if state == offsetNoData {
		w.int(0)
	} else {
		w.int(1)
	}
	w.string("1259")
	w.string("16384")
	w.string(tag)
	w.string(kind)
	w.int(3)
	w.string("CREATE TABLE x ();")
	w.string("DROP TABLE x;")
	w.null()
	w.string("public")
	w.string("")
	if w.version >= tableAM {
		w.string("heap")
	}
	if w.version >= relKind {
		w.int('r')
	}
	w.string("anna")
	w.string("false")
	w.string("17")
	w.null()
	w.WriteByte(state)
	for i := range 8 {
		w.WriteByte(byte(at >> (8 * i)))
	}
}

func (w *writer) pieces(data ...string) {
	for _, d := range data {
		w.string(d)
	}
	w.int(0)
}

func (w *writer) block(kind byte, id int64) { w.WriteByte(kind); w.int(id) }

// whole makes an archive with two tables and large objects. Borders are the
// lengths at which a block ends.
func whole(v Version, intSize int) (b []byte, borders []int) {
	w := &writer{version: v, intSize: intSize}
	w.head(0)
	w.int(4)
	w.entry(5, "TABLE", "orders", offsetNoData, 0)
	w.entry(6, "TABLE DATA", "orders", offsetUnknown, 0)
	w.entry(7, "TABLE DATA", "empty", offsetUnknown, 0)
	w.entry(8, "BLOBS", "BLOBS", offsetUnknown, 0)
	borders = append(borders, w.Len())
	w.block(blockData, 6)
	w.pieces("1\tone\n", "2\ttwo\n")
	borders = append(borders, w.Len())
	w.block(blockData, 7)
	w.pieces()
	borders = append(borders, w.Len())
	w.block(blockBlobs, 8)
	w.int(16400)
	w.pieces("a picture")
	w.int(-1294967296) // the OID 3000000000
	w.pieces()
	w.int(0)
	return w.Bytes(), borders
}

func TestWhole(t *testing.T) {
	for v := oldest; v <= newest; v++ {
		for _, intSize := range []int{4, 8} {
			b, _ := whole(v, intSize)
			for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
				s, err := Check(r)
				if err != nil {
					t.Fatalf("%s: %v", v, err)
				}
				if s.Version != v || s.Compression != "none" || s.Database != "orders" || s.Server != "15.18" || s.Program != "16.2" ||
					!s.Made.Equal(time.Date(2026, 11, 21, 18, 30, 59, 0, time.UTC)) ||
					s.Entries != 4 || s.Blocks != 3 || s.Size != int64(len(b)) || s.Indexed || strings.Join(s.Owners, " ") != "anna" {
					t.Errorf("%s: %+v", v, s)
				}
			}
		}
	}
}

// TestCutAnywhere: no archive that was cut off passes, and it is told as that.
func TestCutAnywhere(t *testing.T) {
	b, borders := whole(newest, 4)
	for n := range b {
		var cut *CutError
		_, err := Check(bytes.NewReader(b[:n]))
		if !errors.As(err, &cut) || cut.Offset != int64(n) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	for i, lacks := range []string{"TABLE DATA public.orders", "TABLE DATA public.empty", "BLOBS public.BLOBS"} {
		_, err := Check(bytes.NewReader(b[:borders[i]]))
		if cut := new(CutError); errors.As(err, &cut) && lacks != "BLOBS public.BLOBS" && cut.Lacks != lacks {
			t.Errorf("at the border %d: %v", borders[i], err)
		}
	}
}

// TestOffsets: an archive that says where its data begins must be right.
func TestOffsets(t *testing.T) {
	make := func(at int64) ([]byte, int64) {
		w := &writer{version: newest, intSize: 4}
		w.head(3)
		w.int(1)
		w.entry(6, "TABLE DATA", "orders", offsetKnown, at)
		begin := int64(w.Len())
		w.block(blockData, 6)
		w.pieces("zstd it is")
		return w.Bytes(), begin
	}
	_, begin := make(0)
	b, _ := make(begin)
	s, err := Check(bytes.NewReader(b))
	if err != nil || !s.Indexed || s.Compression != "zstd" {
		t.Errorf("%+v, %v", s, err)
	}
	b, _ = make(begin + 1)
	if _, err := Check(bytes.NewReader(b)); !strings.Contains(err.Error(), "should begin at") {
		t.Error(err)
	}
}

// TestDamaged: what is no archive of pg_dump's is said to be none, and where.
func TestDamaged(t *testing.T) {
	good, borders := whole(newest, 4)
	with := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		b    []byte
		says string
	}{
		{[]byte("SELECT 1;"), "no dump"},
		{with(10, 3), "the format is number 3"},
		{with(6, 11), "older than PostgreSQL 9.0"},
		{with(8, 3), "numbers of 3 bytes"},
		{with(9, 2), "offsets of 2 bytes"},
		{with(11, 9), "compression number 9"},
		{with(borders[0], 9), "a block of type 9"},
		{with(borders[0]+2, 99), "numbered 99, which the table of contents does not name"},
		{with(borders[1]+2, 6), "a second block of data of TABLE DATA public.orders"},
		{append(bytes.Clone(good), 0), "a block of type 0"},
		{append(bytes.Clone(good), "garbage"...), "a block of type 103"},
	} {
		_, err := Check(bytes.NewReader(c.b))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.says, err)
		}
	}
	if s, err := Check(bytes.NewReader(with(6, byte(newest&0xff)+1))); !errors.Is(err, ErrNewer) || s.Version != newest+1 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Check(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// FuzzCheck: no panic, no memory for what is not there, and what is accepted is
// refused without its last byte.
func FuzzCheck(f *testing.F) {
	for v := oldest; v <= newest; v++ {
		b, _ := whole(v, 4)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Check(bytes.NewReader(b))
		if err != nil {
			return
		}
		if s.Size != int64(len(b)) {
			t.Fatalf("%d bytes of %d", s.Size, len(b))
		}
		if _, err := Check(bytes.NewReader(b[:len(b)-1])); s.Blocks > 0 && err == nil {
			t.Fatal("accepted when cut off")
		}
	})
}
