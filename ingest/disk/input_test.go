package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"vaultfs/ingest"
	"vaultfs/internal/testrepo"
	"vaultfs/repo"
)

// TestBadFiles: one sentence each, and nothing committed.
func TestBadFiles(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	if err := os.Mkdir("dir.qcow2", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("fifo.raw", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", "dangling.raw"); err != nil {
		t.Fatal(err)
	}
	write(t, "empty.qcow2", nil)
	write(t, "cut.qcow2", read(t, create(t, "whole.qcow2", "qcow2", "1M"))[:2000])
	for path, want := range map[string]string{
		"gone.raw":     "does not exist",
		"dangling.raw": "does not exist",
		"dir.qcow2":    "is a directory",
		"fifo.raw":     "neither a file nor a block device",
		"/dev/null":    "neither a file nor a block device",
		"empty.qcow2":  "no qcow2 header",
		"cut.qcow2":    "cut off",
	} {
		err := mustFail(t, r, []string{path}, Options{})
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestUsage: what makes no sense is refused before anything is opened.
func TestUsage(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	for _, c := range []struct {
		files []string
		o     Options
	}{
		{nil, Options{}},
		{[]string{"-"}, Options{}},
		{[]string{"-"}, Options{Name: "x"}},
		{[]string{"-"}, Options{Name: "x", Format: "qcow2", Stdin: os.Stdin}},
		{[]string{"-", "-"}, Options{Name: "x", Stdin: os.Stdin}},
		{[]string{"a.raw"}, Options{Format: "nbd"}},
		{[]string{"a.raw"}, Options{Name: "a\nb"}},
		{[]string{"a.raw"}, Options{Name: "a@b"}},
		{[]string{"a.raw"}, Options{Name: " "}},
		{[]string{"a/x.raw", "b/x.qcow2"}, Options{}},
	} {
		if err := mustFail(t, r, c.files, c.o); !errors.Is(err, ErrUsage) {
			t.Errorf("%q %+v: %v", c.files, c.o, err)
		}
	}
}

// TestSeveralFiles: with a name one snapshot, without one each; one that fails
// takes the named snapshot with it, and no other.
func TestSeveralFiles(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	if err := os.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"a.raw", "sub/a.raw", "sub/a.img", "b.raw", ".qcow2"} {
		write(t, path, guest(byte(len(path)), 300000))
	}
	mustFail(t, r, []string{"a.raw", "gone.raw"}, Options{Name: "n"})
	made, err := Ingest(t.Context(), r, []string{"a.raw", "sub/a.raw", "sub/a.img", "b.raw", ".qcow2"}, Options{Name: "n", Format: "raw"})
	if err != nil || len(made) != 1 || made[0].Source != "disk/n" || made[0].Kind != "disk" {
		t.Fatal(made, err)
	}
	var names []string
	for i, it := range made[0].Items {
		names = append(names, it.Name)
		same(t, stored(t, r, it)[:300000], guest(byte(len([]string{"a.raw", "sub/a.raw", "sub/a.img", "b.raw", ".qcow2"}[i])), 300000))
	}
	if got := strings.Join(names, " "); got != "a a-2 a-3 b .qcow2" {
		t.Error(got)
	}
	made, err = Ingest(t.Context(), r, []string{"a.raw", "gone.raw", "b.raw"}, Options{})
	if err == nil || len(made) != 2 || made[0].Source != "disk/a" || made[1].Source != "disk/b" {
		t.Error(made, err)
	}
}

// TestStream: a raw disk of unknown size.
func TestStream(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	segment := int(r.SegmentSize())
	for _, size := range []int{1, 512, 4097, 3 << 20, segment, segment + 1} {
		disk := make([]byte, size)
		copy(disk, guest(7, min(size, 9<<20)))
		copy(disk[size-min(size, 5000):], guest(8, min(size, 5000)))
		made, err := Ingest(t.Context(), r, []string{"-"}, Options{Name: "s", Stdin: iotest.HalfReader(bytes.NewReader(disk))})
		if err != nil {
			t.Fatal(err)
		}
		it := made[0].Items[0]
		same(t, stored(t, r, it), append(disk, make([]byte, (512-size%512)%512)...))
		if it.Name != "s" || it.Path != "-" || it.Format != "raw" || made[0].Info.Summary.BytesRead != int64(size) {
			t.Errorf("%+v", made[0])
		}
		if size == segment+1 { // cut as the same disk in a file is
			write(t, "s.raw", disk)
			again, fromFile := ingestOne(t, r, "s.raw", Options{})
			if fromFile.Root != it.Root || again.Info.Summary.BytesNew != 0 {
				t.Error("a stream is not cut as a file is")
			}
		}
	}
}

// TestEmptyStream: nothing is what a failed producer writes.
func TestEmptyStream(t *testing.T) {
	err := mustFail(t, testrepo.New(t), []string{"-"}, Options{Name: "s", Stdin: strings.NewReader("")})
	if !errors.Is(err, ErrEmpty) || err.Error() != "standard input was empty: nothing to back up" {
		t.Error(err)
	}
}

// TestFileNames: a file whose name is none for a source needs another one.
func TestFileNames(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	for _, path := range []string{"db@monday.raw", " .raw"} {
		write(t, path, guest(1, 5000))
		err := mustFail(t, r, []string{path}, Options{})
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--name") {
			t.Errorf("%q: %v", path, err)
		}
	}
	s, it := ingestOne(t, r, "db@monday.raw", Options{Name: "db"})
	if s.Source != "disk/db" || it.Name != "db@monday" {
		t.Errorf("source %q, item %q", s.Source, it.Name)
	}
}

// TestStreamFails: a stream that breaks off is no disk.
func TestStreamFails(t *testing.T) {
	r := testrepo.New(t)
	for _, want := range []error{io.ErrUnexpectedEOF, errors.New("pipe burst")} {
		broken := io.MultiReader(bytes.NewReader(guest(1, 5<<20)), iotest.ErrReader(want))
		if err := mustFail(t, r, []string{"-"}, Options{Name: "s", Stdin: broken}); !errors.Is(err, want) || !strings.Contains(err.Error(), "standard input") {
			t.Error(err)
		}
	}
	// One that hangs does not keep a cancelled ingest.
	reader, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Ingest(ctx, r, []string{"-"}, Options{Name: "s", Stdin: reader}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestInUse: an image that QEMU writes to is refused, whatever its format.
func TestInUse(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	create(t, "a.qcow2", "qcow2", "1M")
	create(t, "a.raw", "raw", "1M")
	create(t, "over.qcow2", "qcow2", "1M", "-b", "a.raw", "-F", "raw")
	for path, format := range map[string]string{"a.qcow2": "qcow2", "a.raw": "raw"} {
		holder := exec.Command("qemu-io", "-f", format, path)
		stdin, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(stdin, "length\n")
		if _, err := io.ReadFull(stdout, make([]byte, len("qemu-io> 1 MiB"))); err != nil {
			t.Fatal(err)
		}
		if err := mustFail(t, r, []string{path}, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		if format == "raw" {
			if err := mustFail(t, r, []string{"over.qcow2"}, Options{}); !errors.Is(err, ErrInUse) {
				t.Errorf("over %s: %v", path, err)
			}
		}
		stdin.Close()
		holder.Wait()
	}
	for _, path := range []string{"a.qcow2", "over.qcow2"} {
		ingestOne(t, r, path, Options{})
	}
}

// TestLockedMeanwhile: what qemu-nbd says of a lock that was taken after the
// first look becomes the same sentence.
func TestLockedMeanwhile(t *testing.T) {
	m := &image{path: "/x"}
	err := m.explain(errors.New(`qemu-nbd "/x": Failed to get shared "write" lock Is another process using the image [/x]? (exit status 1)`))
	if !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

// TestChangedMeanwhile: any file of an image that is written to, replaced,
// resized or touched during the read.
func TestChangedMeanwhile(t *testing.T) {
	dir := chdir(t)
	r := testrepo.New(t)
	write(t, "base.raw", guest(1, 8<<20))
	create(t, "over.qcow2", "qcow2", "8M", "-b", "base.raw", "-F", "raw")
	qemuIO(t, "qcow2", "over.qcow2", "write -P 9 1M 1M")
	create(t, "flat.vmdk", "vmdk", "1M", "-o", "subformat=monolithicFlat")
	for i, c := range []struct {
		image  string
		change func() error
		want   string
	}{
		{"base.raw", func() error { return poke("base.raw", 5<<20) }, "was written to"},
		{"over.qcow2", func() error { return poke("base.raw", 5<<20) }, "base.raw\" was written to"},
		{"over.qcow2", func() error { return poke("over.qcow2", 64<<10) }, "over.qcow2\" was written to"},
		{"flat.vmdk", func() error { return poke("flat-flat.vmdk", 0) }, "flat-flat.vmdk\" was written to"},
		{"base.raw", func() error { return os.Truncate("base.raw", 9<<20) }, "was resized"},
		{"base.raw", func() error { return os.Truncate("base.raw", 1<<20) }, "was resized"},
		{"base.raw", func() error { return os.Chmod("base.raw", 0o640) }, "was changed"},
		{"base.raw", func() error { return os.Remove("flat.vmdk") }, ""},
		{"base.raw", func() error { return replace("base.raw") }, "was replaced"},
		{"base.raw", func() error { return os.Remove("base.raw") }, "was removed"},
	} {
		m, err := openImage(t.Context(), c.image, &Options{Warn: func(string) {}})
		if err != nil {
			t.Fatal(i, err)
		}
		if err := c.change(); err != nil {
			t.Fatal(i, err)
		}
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "disk/x", Kind: Kind})
		if err != nil {
			t.Fatal(err)
		}
		one := &set{source: "disk/x", files: []string{c.image}, names: []string{"x"}}
		_, err = one.copy(t.Context(), s, []*image{m}, &Options{Progress: new(ingest.Progress)})
		if c.want == "" {
			if err != nil {
				t.Error(i, err)
			}
		} else if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%d: %v, want %q", i, err, c.want)
		}
		s.Abort(t.Context())
		m.close()
	}
	if all, err := r.Snapshots(t.Context()); err != nil || len(all) != 1 {
		t.Error(len(all), err)
	}
}

// poke writes a byte.
func poke(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{1}, off)
	return errors.Join(err, f.Close())
}

// replace puts an equal file in a file's place.
func replace(path string) error {
	p, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".new", p, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// TestWriterDuringIngest: the same while Ingest runs, with a writer that does
// not know of it.
func TestWriterDuringIngest(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	disk := make([]byte, 48<<20)
	noise(1, disk)
	write(t, "a.raw", disk)
	p := new(ingest.Progress)
	written := make(chan error, 1)
	go func() {
		for p.Read.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		written <- poke("a.raw", 47<<20)
	}()
	err := mustFail(t, r, []string{"a.raw"}, Options{Progress: p})
	if !errors.Is(err, ErrChanged) || <-written != nil {
		t.Error(err)
	}
	if p.Total.Load() != 48<<20 {
		t.Error(p.Total.Load())
	}
}
