package qemunbd

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"vaultfs/internal/nbd"
)

// run runs a command that must succeed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// qemuIO runs qemu-io commands on a qcow2 image.
func qemuIO(t testing.TB, path string, commands ...string) {
	t.Helper()
	args := []string{"-f", "qcow2"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	run(t, "qemu-io", append(args, path)...)
}

// converted is the image as qemu-img sees it, raw.
func converted(t testing.TB, path string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "converted.raw")
	run(t, "qemu-img", append(append([]string{"convert", "-f", "qcow2", "-O", "raw"}, args...), path, out)...)
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func dial(t testing.TB, s *Server, o nbd.Options) *nbd.Client {
	t.Helper()
	c, err := s.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// content reads the export in one piece.
func content(t testing.TB, c *nbd.Client) []byte {
	t.Helper()
	p := bytes.Repeat([]byte{0xee}, int(c.Size()))
	if err := c.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// sparse reads only what Data names, over zeros, in pieces of 1 MiB.
func sparse(t testing.TB, c *nbd.Client) []byte {
	t.Helper()
	p := make([]byte, c.Size())
	const piece = 1 << 20
	for off := int64(0); off < c.Size(); off += piece {
		data, err := c.Data(t.Context(), off, min(piece, c.Size()-off))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range data {
			if err := c.ReadAt(t.Context(), p[e.Offset:][:e.Length], e.Offset); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// same compares the export, read both ways, with what it should be.
func same(t testing.TB, c *nbd.Client, want []byte) {
	t.Helper()
	if !bytes.Equal(content(t, c), want) {
		t.Error("the content read in one piece differs from qemu-img's")
	}
	if !bytes.Equal(sparse(t, c), want) {
		t.Error("the content read by its extents differs from qemu-img's")
	}
}

var allocation = nbd.Options{Contexts: []string{nbd.ContextAllocation}, Connections: 2}

// TestHolesAndCompression: data, zeros, compressed clusters, holes; a size that is no whole cluster.
func TestHolesAndCompression(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "10486272") // 10 MiB + 512
	qemuIO(t, path, "write -P 0x11 64k 100k", "write -z 1M 128k", "write -P 0x22 -c 2M 64k", "write -P 0x22 -c 2176k 64k",
		"write -P 0x33 10485760 512", "write -P 0x44 5000k 1300k")
	c := dial(t, start(t, Options{Chain: []Layer{{Path: path, Format: "qcow2"}}, Connections: 2}), allocation)
	if c.Size() != 10486272 || !c.ReadOnly() || c.Connections() != 2 {
		t.Fatal(c.Size(), c.ReadOnly(), c.Connections())
	}
	same(t, c, converted(t, path))
	data, err := c.Data(t.Context(), 0, c.Size())
	want := []nbd.Extent{
		{Offset: 64 << 10, Length: 128 << 10}, {Offset: 2 << 20, Length: 64 << 10}, {Offset: 2176 << 10, Length: 64 << 10},
		{Offset: 4992 << 10, Length: 6336<<10 - 4992<<10}, {Offset: 10 << 20, Length: 512},
	}
	if err != nil || !slices.Equal(data, want) {
		t.Fatal(data, err)
	}
}

// chain makes three layers, each with the name of the next in its header.
func chain(t *testing.T) []Layer {
	dir := t.TempDir()
	layers := []Layer{
		{Path: filepath.Join(dir, "top.qcow2"), Format: "qcow2"},
		{Path: filepath.Join(dir, "mid,dle:=.qcow2"), Format: "qcow2"},
		{Path: filepath.Join(dir, "base.raw"), Format: "raw"},
	}
	if err := os.WriteFile(layers[2].Path, bytes.Repeat([]byte{0xba}, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := 1; i >= 0; i-- {
		run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", layers[i+1].Path, "-F", layers[i+1].Format, layers[i].Path, "4M")
	}
	qemuIO(t, layers[1].Path, "write -P 0x55 512k 1M", "write -P 0x66 2560k 64k")
	qemuIO(t, layers[0].Path, "write -P 0x77 1M 64k", "write -z 1600k 64k", "write -P 0x88 3M 100k")
	return layers
}

// TestBackingChain: what is given is read, and nothing else, though the headers name it.
func TestBackingChain(t *testing.T) {
	layers := chain(t)
	same(t, dial(t, start(t, Options{Chain: layers}), allocation), converted(t, layers[0].Path))

	alone := content(t, dial(t, start(t, Options{Chain: layers[:1]}), allocation))
	if n := len(alone) - bytes.Count(alone, []byte{0}); n != 164<<10 {
		t.Fatalf("the top layer without its backing files has %d bytes that are not zero", n)
	}
	two := content(t, dial(t, start(t, Options{Chain: layers[:2]}), allocation))
	if bytes.Contains(two, []byte{0xba}) || !bytes.Contains(two, []byte{0x55}) {
		t.Fatal("two layers show what is in the third, or not what is in the second")
	}
	other := append(slices.Clone(layers[:2]), Layer{Path: filepath.Join(t.TempDir(), "other.raw"), Format: "raw"})
	if err := os.WriteFile(other[2].Path, bytes.Repeat([]byte{0xcc}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := content(t, dial(t, start(t, Options{Chain: other}), allocation)); p[0] != 0xcc {
		t.Fatalf("%#x from the base that the header names", p[0])
	}
}

// TestRawStaysRaw: a raw disk into which a guest wrote a qcow2 header is served byte for byte.
func TestRawStaysRaw(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evil.raw")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "64M")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, start(t, Options{Chain: []Layer{{Path: path, Format: "raw"}}}), allocation)
	if got := content(t, c); !bytes.Equal(got[:len(want)], want) {
		t.Fatal("the raw disk was taken for a qcow2")
	}
}

// TestOddRawSize: QEMU rounds a raw file up to 512 bytes, with zeros.
func TestOddRawSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd.raw")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 100_001), 0o600); err != nil {
		t.Fatal(err)
	}
	c := dial(t, start(t, Options{Chain: []Layer{{Path: path, Format: "raw"}}}), allocation)
	same(t, c, append(bytes.Repeat([]byte{7}, 100_001), make([]byte, int(c.Size())-100_001)...))
	if c.Size() != 100_352 {
		t.Fatal(c.Size())
	}
}

// TestDataFile: guest data in a raw file beside a qcow2 is read only from where the caller says.
func TestDataFile(t *testing.T) {
	dir := t.TempDir()
	path, data := filepath.Join(dir, "a.qcow2"), filepath.Join(dir, "a,data.raw")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file="+escape(data), path, "1M")
	qemuIO(t, path, "write -P 0x99 0 128k")
	want := converted(t, path)
	if _, err := Start(t.Context(), Options{Chain: []Layer{{Path: path, Format: "qcow2"}}}); err == nil {
		t.Fatal("a data file that only the image names was opened")
	}
	plain := filepath.Join(dir, "plain.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", plain, "1M")
	for image, want := range map[string]bool{path: true, plain: false} {
		if has, err := HasDataFile(image); err != nil || has != want {
			t.Errorf("%s has a data file: %v, %v", filepath.Base(image), has, err)
		}
	}
	if _, err := HasDataFile(data); err == nil {
		t.Error("a raw file is taken for qcow2")
	}
	moved := filepath.Join(t.TempDir(), "moved.raw")
	if err := os.Rename(data, moved); err != nil {
		t.Fatal(err)
	}
	c := dial(t, start(t, Options{Chain: []Layer{{Path: path, Format: "qcow2", DataFile: moved}}}), allocation)
	same(t, c, want)
}

// extents builds a row of extents from pairs of length and flags.
func extents(pairs ...int64) (row []nbd.Extent) {
	at := int64(0)
	for i := 0; i < len(pairs); i += 2 {
		row = append(row, nbd.Extent{Offset: at, Length: pairs[i], Flags: uint32(pairs[i+1])})
		at += pairs[i]
	}
	return row
}

// TestDirtyBitmap: several contexts on one connection; the bitmap shows what was written after it was made.
func TestDirtyBitmap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
	qemuIO(t, path, "write -P 1 0 1M")
	run(t, "qemu-img", "bitmap", "--add", path, "b,0")
	qemuIO(t, path, "write -P 2 512k 64k", "write -P 3 4M 128k")
	name := nbd.ContextDirtyBitmap + "b,0"
	o := nbd.Options{Contexts: []string{name, nbd.ContextAllocation, nbd.ContextDirtyBitmap + "nope"}}
	c := dial(t, start(t, Options{Chain: []Layer{{Path: path, Format: "qcow2"}}, Bitmap: "b,0"}), o)
	if got := c.Contexts(); !slices.Equal(got, o.Contexts[:2]) {
		t.Fatal(got)
	}
	for context, want := range map[string][]nbd.Extent{
		name:                  extents(512<<10, 0, 64<<10, 1, 3520<<10, 0, 128<<10, 1, 3968<<10, 0),
		nbd.ContextAllocation: extents(1<<20, 0, 3<<20, 3, 128<<10, 0, 3968<<10, 3),
	} {
		got, err := c.BlockStatus(t.Context(), context, 0, c.Size())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v", context, got, err)
		}
		first, err := c.FirstExtent(t.Context(), context, 100, 8<<20-100)
		if err != nil || first != (nbd.Extent{Offset: 100, Length: want[0].Length - 100, Flags: want[0].Flags}) {
			t.Errorf("%s: %v %v", context, first, err)
		}
	}
	same(t, c, converted(t, path))
}

// TestSnapshot serves an internal snapshot, not the current state.
func TestSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
	qemuIO(t, path, "write -P 1 0 128k")
	run(t, "qemu-img", "snapshot", "-c", "be,fore", path)
	qemuIO(t, path, "write -P 2 64k 128k")
	o := Options{Chain: []Layer{{Path: path, Format: "qcow2"}}, Snapshot: "be,fore"}
	same(t, dial(t, start(t, o), allocation), converted(t, path, "-l", "snapshot.name=be,,fore"))
	o.Snapshot = ""
	same(t, dial(t, start(t, o), allocation), converted(t, path))
}

// TestManyNames: names that mean something to QEMU, to shells or to terminals, absolute and relative.
func TestManyNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{
		"vm-T18:00.raw", "a,b", "a,,b", "k=v,file.filename=x", "nbd:localhost:1", "json:{}", "-n", "a\nb", "a b'c\"d", "\xff\xfe", "file:x", "%s",
	} {
		want := bytes.Repeat([]byte(name+"\x00"), 512)
		if err := os.WriteFile(name, want, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{name, dir + "/" + name} {
			s, err := Start(context.Background(), Options{Chain: []Layer{{Path: path, Format: "raw"}}})
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, s, nbd.Options{})
			if got := content(t, c); !bytes.Equal(got, want) {
				t.Errorf("%q has other content", path)
			}
			c.Close()
			s.Close()
		}
	}
}
