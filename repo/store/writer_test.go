package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// writeIn writes data in pieces and commits it.
func writeIn(d *Dir, piece int, name string, data []byte) error {
	w, err := d.Begin(ctx, "packs/s")
	if err != nil {
		return err
	}
	defer w.Abort()
	for part := range slices.Chunk(data, piece) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Commit(ctx, name)
}

func TestWriter(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		data := randomBytes(1, 5000)
		w, err := d.Begin(ctx, "packs/s")
		must(t, err)
		for part := range slices.Chunk(data, 999) {
			if n, err := w.Write(part); n != len(part) || err != nil {
				t.Fatalf("write: %d %v", n, err)
			}
		}
		if w.Size() != 5000 || names(t, open(), "") != nil {
			t.Fatalf("%d bytes, and before the commit there is %v", w.Size(), names(t, d, ""))
		}
		must(t, w.Commit(ctx, "packs/s/one"))
		sameContent(t, open(), "packs/s/one", data)
		w.Abort()
		if _, err := w.Write(data); err == nil {
			t.Fatal("an object that was committed takes more bytes")
		}
		if w.Commit(ctx, "packs/s/two") == nil {
			t.Fatal("an object was committed twice")
		}
		if err := writeIn(d, 300, "packs/s/one", data); !errors.Is(err, ErrExists) {
			t.Fatalf("commit to a name that is taken: %v", err)
		}
		if err := writeIn(d, 300, "tmp/x", data); !errors.Is(err, ErrBadName) {
			t.Fatalf("commit to a name of the store's own: %v", err)
		}
		if all := leftovers(t, d, "."); !slices.Equal(all, []string{"packs/s/one"}) {
			t.Fatalf("files %v", all)
		}
	})
}

// What is given up leaves neither a file nor a directory.
func TestWriterAborts(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		w, err := d.Begin(ctx, "packs/s")
		must(t, err)
		_, err = w.Write(make([]byte, 100))
		must(t, err)
		if n, err := open().CleanTemp(ctx); n != 0 || err != nil {
			t.Fatalf("%d temporaries that are being written were removed, %v", n, err)
		}
		w.Abort()
		w.Abort()
		if all := leftovers(t, d, "."); all != nil {
			t.Fatalf("left: %v", all)
		}
		if _, err := d.fs.stat("packs/s"); !errors.Is(err, unix.ENOENT) {
			t.Fatalf("the directory is left: %v", err)
		}
		over, cancel := context.WithCancel(ctx)
		w, err = d.Begin(over, "packs/s")
		must(t, err)
		cancel()
		if err := w.Commit(over, "packs/s/a"); !errors.Is(err, context.Canceled) || names(t, d, "") != nil {
			t.Fatalf("commit: %v", err)
		}
		if _, err := d.Begin(over, "packs/s"); !errors.Is(err, context.Canceled) {
			t.Fatalf("begin: %v", err)
		}
	})
}

// Others may remove the directory of an object that is not there yet.
func TestWriterOutlivesItsDirectory(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		must(t, d.Put(ctx, "packs/s/a", nil))
		w, err := d.Begin(ctx, "packs/s")
		must(t, err)
		must(t, open().Delete(ctx, "packs/s/a"))
		_, err = w.Write([]byte("data"))
		must(t, err)
		must(t, w.Commit(ctx, "packs/s/b"))
		sameContent(t, d, "packs/s/b", []byte("data"))
	})
}

func TestWriterCrashes(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		data := randomBytes(1, 300)
		work := func(d *Dir) error { return writeIn(d, 100, "packs/s/one", data) }
		crashEverywhere(t, c, nothing, work, func(d *Dir, err error) error {
			has, bad := whole(d, "packs/s/one", data)
			if !has && err == nil {
				return errors.New("an object is lost that was committed")
			}
			return errors.Join(bad, cleanAndEmpty(d))
		})
	})
}

// A failure of any step is told, and nothing is left of the object.
func TestWriterFails(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		for n := 1; ; n++ {
			m := NewMem()
			d := c.over(t, &memFS{m: m})
			must(t, d.Put(ctx, "packs/s/before", nil))
			at := m.Ops() + n
			m.FailOp(at, unix.EIO)
			err := writeIn(d, 100, "packs/s/one", randomBytes(1, 300))
			if m.Ops() < at {
				must(t, err)
				return
			}
			if step := m.Trace()[at-1]; err == nil && !cleansUp(step) || err != nil && !errors.Is(err, unix.EIO) {
				t.Fatalf("step %d (%s) failed: %v", n, step, err)
			}
			if got := names(t, d, ""); err != nil && !slices.Equal(got, []string{"packs/s/before"}) {
				t.Fatalf("step %d (%s): left %v", n, m.Trace()[at-1], got)
			}
		}
	})
}

// Pieces of several objects fill the disk together, before any of them has a name.
func TestWritersOnAFullDisk(t *testing.T) {
	full := func(t *testing.T, d *Dir, piece, fit int) {
		t.Helper()
		before, _, err := d.Free(ctx)
		must(t, err)
		one, err := d.Begin(ctx, "packs/s")
		must(t, err)
		two, err := d.Begin(ctx, "packs/s")
		must(t, err)
		for i := range fit {
			_, err := []*Writer{one, two}[i%2].Write(make([]byte, piece))
			must(t, err)
		}
		if free, _, _ := d.Free(ctx); before-free < int64(piece*fit) {
			t.Errorf("%d bytes were free and %d are", before, free)
		}
		if _, err := two.Write(make([]byte, piece)); !errors.Is(err, ErrFull) {
			t.Fatalf("one piece more: %v", err)
		}
		if err := two.Commit(ctx, "packs/s/two"); !errors.Is(err, ErrFull) {
			t.Fatalf("commit of what is not whole: %v", err)
		}
		must(t, one.Commit(ctx, "packs/s/one"))
		if got := leftovers(t, d, "."); !slices.Equal(got, []string{"packs/s/one"}) {
			t.Fatalf("left: %v", got)
		}
	}
	onVariants(t, func(t *testing.T, c crippled) {
		t.Run("os", func(t *testing.T) { full(t, openCrippled(t, c, tmpfs(t)), 200<<10, 5) })
		t.Run("mem", func(t *testing.T) {
			m := NewMem()
			m.Limit(1 << 20)
			full(t, c.over(t, &memFS{m: m}), 200<<10, 5)
		})
	})
}

func TestOpenCold(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		data := randomBytes(1, 5000)
		must(t, d.Put(ctx, "packs/s/a", data))
		c, err := d.OpenCold(ctx, "packs/s/a")
		must(t, err)
		defer c.Close()
		got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if n, err := c.ReadAt(make([]byte, 10), 4995); n != 5 || err != io.EOF {
			t.Fatalf("over the end: %d %v", n, err)
		}
		if _, err := d.OpenCold(ctx, "packs/s/b"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("an object that is not there: %v", err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	d, err := OpenDir(b.TempDir())
	must(b, err)
	defer d.Close()
	piece := randomBytes(1, 1<<20)
	b.SetBytes(16 << 20)
	for b.Loop() {
		w, err := d.Begin(ctx, "packs/s")
		must(b, err)
		for range 16 {
			_, err := w.Write(piece)
			must(b, err)
		}
		must(b, w.Commit(ctx, "packs/s/a"))
		must(b, d.Delete(ctx, "packs/s/a"))
	}
}

// A writer that is killed leaves no directory behind, which nobody would remove.
func TestKilledWriterLeavesNoDirectory(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		m := NewMem()
		w, err := c.over(t, &memFS{m: m}).Begin(ctx, "packs/s")
		must(t, err)
		_, err = w.Write(make([]byte, 100))
		must(t, err)
		after := c.over(t, &memFS{m: m.Kill()})
		must(t, cleanAndEmpty(after))
		if _, err := after.fs.stat("packs/s"); !errors.Is(err, unix.ENOENT) {
			t.Errorf("the directory is left: %v", err)
		}
	})
}
