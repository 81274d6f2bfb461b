package decompress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample is data that compresses in places, of many blocks of every format.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		switch r.IntN(3) {
		case 0:
			b.WriteString(strings.Repeat("the same again, ", r.IntN(5000)))
		case 1:
			noise := make([]byte, r.IntN(300<<10))
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			b.Write(noise)
		case 2:
			b.Write(make([]byte, r.IntN(100<<10)))
		}
	}
	return b.Bytes()[:n]
}

// pipe runs a program on data.
func pipe(t testing.TB, data []byte, program string, args ...string) []byte {
	t.Helper()
	c := exec.Command(program, args...)
	c.Stdin = bytes.NewReader(data)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", program, args, err, stderr.String())
	}
	return out
}

// all decompresses everything.
func all(r io.Reader) (plain []byte, format string, err error) {
	d, err := New(r)
	if err != nil {
		return nil, "", err
	}
	defer d.Close()
	plain, err = io.ReadAll(d)
	return plain, d.Format(), err
}

var sampleData = sample(3 << 20)

// tools are the ways in which real programs compress.
var tools = map[string][][]string{
	Zstd: {{"zstd", "-1"}, {"zstd", "-19", "--no-check"}, {"zstd", "-3", "--long=27"}, {"zstd", "--rsyncable", "-T2"}, {"zstd", "--ultra", "-22"}},
	Gzip: {{"gzip", "-1"}, {"gzip", "-9"}},
	Lzop: {{"lzop", "-1"}, {"lzop", "-3"}, {"lzop", "-9"}, {"lzop", "-1", "-F"}, {"lzop", "-1", "--crc32"}, {"lzop", "-1", "-C"}, {"lzop", "-1", "--name"}},
}

func TestWhatToolsMake(t *testing.T) {
	for format, ways := range tools {
		for _, way := range ways {
			t.Run(strings.Join(way, " "), func(t *testing.T) {
				for _, data := range [][]byte{sampleData, []byte("short"), {}} {
					packed := pipe(t, data, way[0], append(way[1:], "-c")...)
					plain, got, err := all(bytes.NewReader(packed))
					if err != nil || got != format || !bytes.Equal(plain, data) {
						t.Errorf("%d bytes: format %q, %d bytes, %v", len(data), got, len(plain), err)
					}
				}
			})
		}
	}
}

// A file's name and its times are in the header.
func TestOfFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), strings.Repeat("n", 200)+".tar")
	if err := os.WriteFile(name, sampleData, 0o600); err != nil {
		t.Fatal(err)
	}
	for suffix, c := range map[string]*exec.Cmd{
		".lzo": exec.Command("lzop", "-P", name), ".gz": exec.Command("gzip", "-k", name), ".zst": exec.Command("zstd", "-q", name),
	} {
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f, err := os.Open(name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if plain, _, err := all(f); err != nil || !bytes.Equal(plain, sampleData) {
			t.Errorf("%s: %d bytes, %v", suffix, len(plain), err)
		}
	}
}

func TestSeveralInARow(t *testing.T) {
	skippable := []byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	for format, ways := range tools {
		one := pipe(t, sampleData, ways[0][0], append(ways[0][1:], "-c")...)
		two := pipe(t, []byte("and more"), ways[1][0], append(ways[1][1:], "-c")...)
		row := append(append([]byte{}, one...), two...)
		if format == Zstd {
			row = bytes.Join([][]byte{skippable, one, skippable, two, skippable}, nil)
		}
		plain, got, err := all(iotest.OneByteReader(bytes.NewReader(row)))
		if err != nil || got != format || string(plain) != string(sampleData)+"and more" {
			t.Errorf("%s: %q, %d bytes, %v", format, got, len(plain), err)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, data := range []string{"", "a", "\x28\xb5\x2f", "\x1f\x8b", "\x89LZO", "P*M\x17 and so on", string(sampleData)} {
		plain, format, err := all(strings.NewReader(data))
		if err != nil || format != Plain || string(plain) != data {
			t.Errorf("%.9q: %q, %d bytes, %v", data, format, len(plain), err)
		}
	}
}

// Cut off anywhere, it is no whole stream.
func TestCutOff(t *testing.T) {
	data := sampleData[:300<<10]
	for format, ways := range tools {
		whole := pipe(t, data, ways[0][0], append(ways[0][1:], "-c")...)
		shortest := map[string]int{Zstd: 4, Gzip: 3, Lzop: 9}[format]
		cuts := []int{shortest, shortest + 1, shortest + 5, shortest + 20, len(whole) / 2, len(whole) - 9, len(whole) - 5, len(whole) - 4, len(whole) - 1}
		for _, n := range cuts {
			plain, got, err := all(bytes.NewReader(whole[:n]))
			if got != format || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "the "+words[format]+" data is cut off after ") {
				t.Errorf("%s: cut at %d of %d: %q, %d bytes, %v", format, n, len(whole), got, len(plain), err)
			}
		}
		// The second of two.
		plain, _, err := all(bytes.NewReader(append(append([]byte{}, whole...), whole[:2]...)))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(plain, data) {
			t.Errorf("%s: the second cut: %d bytes, %v", format, len(plain), err)
		}
	}
}

// A flipped bit never passes for the same data.
func TestFlipped(t *testing.T) {
	data := sampleData[:100<<10]
	for format, ways := range tools {
		whole := pipe(t, data, ways[0][0], append(ways[0][1:], "-c")...)
		r := rand.New(rand.NewPCG(3, 4))
		for range 400 {
			at, bit := r.IntN(len(whole)), byte(1)<<r.IntN(8)
			whole[at] ^= bit
			plain, got, err := all(bytes.NewReader(whole))
			if got == format && err == nil && !bytes.Equal(plain, data) {
				t.Errorf("%s: bit %#x of byte %d: other data, no error", format, bit, at)
			}
			if err != nil && got != Plain && !strings.Contains(err.Error(), words[got]) {
				t.Errorf("%s: the error does not name the format: %v", format, err)
			}
			whole[at] ^= bit
		}
	}
}

func TestTrailing(t *testing.T) {
	data := sampleData[:100<<10]
	for format, ways := range tools {
		whole := pipe(t, data, ways[0][0], append(ways[0][1:], "-c")...)
		for _, trailer := range []string{"garbage that follows", "g", "\x00\x00\x00garbage", "\x00", strings.Repeat("\x00", 10240)} {
			plain, _, err := all(strings.NewReader(string(whole) + trailer))
			zeros := strings.Trim(trailer, "\x00") == ""
			if wantFail := format != Gzip || !zeros; (err != nil) != wantFail || !bytes.Equal(plain, data) {
				t.Errorf("%s followed by %.20q: %d bytes, %v", format, trailer, len(plain), err)
			}
		}
	}
}

func TestTooLargeWindow(t *testing.T) {
	big := pipe(t, make([]byte, 1<<20), "zstd", "--long=28", "-c")
	if _, _, err := all(bytes.NewReader(big)); err == nil || !strings.Contains(err.Error(), "window of more than 128 MiB") {
		t.Errorf("%v", err)
	}
}

// The largest window there may be takes its own size, and little besides.
func TestMemory(t *testing.T) {
	c := exec.Command("sh", "-c", "head -c 400M /dev/zero | zstd -q --long=27 -c")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	d, err := New(out)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n, err := io.Copy(io.Discard, d)
	if err != nil || n != 400<<20 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapInuse > MaxWindow+32<<20 {
		t.Errorf("%d MiB are in use", m.HeapInuse>>20)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
}

var errSource = errors.New("the disk says no")

func TestErrorsOfTheSource(t *testing.T) {
	for format, ways := range tools {
		whole := pipe(t, sampleData, ways[0][0], append(ways[0][1:], "-c")...)
		for _, failure := range []error{errSource, io.ErrUnexpectedEOF} {
			r := io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(failure))
			if _, _, err := all(r); !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "reading at byte ") {
				t.Errorf("%s: %v", format, err)
			}
		}
	}
}

// hangs is a stream of which nothing more comes, until it is let go.
type hangs struct {
	first io.Reader
	let   chan struct{}
}

func (h *hangs) Read(p []byte) (int, error) {
	if n, err := h.first.Read(p); err == nil {
		return n, nil
	}
	<-h.let
	return 0, io.EOF
}

func TestHanging(t *testing.T) {
	whole := pipe(t, sampleData, "zstd", "-c")
	h := &hangs{bytes.NewReader(whole[:len(whole)/2]), make(chan struct{})}
	defer close(h.let)
	ctx, cancel := context.WithCancel(context.Background())
	d, err := NewContext(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := io.Copy(io.Discard, d); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := NewContext(ctx, &hangs{strings.NewReader(""), h.let}); !errors.Is(err, context.Canceled) {
		t.Errorf("before the first byte: %v", err)
	}
	other, err := New(&hangs{bytes.NewReader(whole[:len(whole)/2]), h.let})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { other.Close() })
	if _, err := io.Copy(io.Discard, other); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestClosedEarly(t *testing.T) {
	whole := pipe(t, sampleData, "gzip", "-c")
	d, err := New(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	d.Close()
	if _, err := io.Copy(io.Discard, d); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}
