package vzdump

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/chunk"
	"vaultfs/internal/vma"
)

// lowMemory gives ingests room for that many bytes of blocks.
func lowMemory(t testing.TB, size int) {
	t.Helper()
	was := pageMemory
	pageMemory = size
	t.Cleanup(func() { pageMemory = was })
}

// patchy is a drive of which every so many clusters hold some data.
func patchy(name string, size, every int64) madeDrive {
	return madeDrive{name, size, func(c int64) []byte {
		if c%every != 0 {
			return nil
		}
		return content(uint64(c), int(min(vma.ClusterSize, size-c*vma.ClusterSize)))
	}}
}

// orders are ways in which clusters come.
func orders(m *made) map[string][]place {
	inOrder := m.places()
	var backward, interleaved []place
	for i := range inOrder {
		backward = append(backward, inOrder[len(inOrder)-1-i])
	}
	for c := uint32(0); len(interleaved) < len(inOrder); c++ {
		for i, d := range m.drives {
			if int64(c) < d.clusters() {
				interleaved = append(interleaved, place{i, c})
			}
		}
	}
	m.shuffle(2)
	return map[string][]place{"in order": inOrder, "backward": backward, "interleaved": interleaved, "random": m.order}
}

// TestOrder takes in the same drives with their clusters in various orders, with
// memory for all of them and with hardly any. What is stored is the same.
func TestOrder(t *testing.T) {
	r := newRepo(t)
	m := &made{drives: []madeDrive{
		patchy("drive-scsi0", 140<<20+3*512, 20),
		patchy("drive-scsi1", 64<<20, 30),
		driveOf("drive-efidisk0", content(3, 540672)),
		driveOf("drive-virtio0", make([]byte, 3<<20)),
		driveOf("drive-sata0", noise(4, make([]byte, 512))),
	}}
	var roots []chunk.ID
	for i, memory := range []int{pageMemory, 5 << 19} {
		for name, order := range orders(m) {
			lowMemory(t, memory)
			m.order, m.zeros, m.slots = order, name == "backward", 58+len(name)%2
			o := options(t)
			o.Name = "orders"
			s := ingestOne(t, r, m.file(t, t.TempDir(), "x.vma"), o)
			same(t, r, s, m)
			var got []chunk.ID
			for _, d := range m.drives {
				got = append(got, item(t, s, d.name).Root)
			}
			if roots == nil {
				roots = got
			}
			for k := range roots {
				if got[k] != roots[k] {
					t.Errorf("%s, %d bytes of memory: the disk of %s is not the same", name, memory, m.drives[k].name)
				}
			}
			spooled, err := os.ReadDir(o.StateDir)
			if err != nil || i == 1 && name == "random" && len(spooled) == 0 {
				t.Errorf("%s, %d bytes of memory: nothing went to the spool (%v)", name, memory, err)
			}
			for _, d := range spooled {
				if left, err := os.ReadDir(filepath.Join(o.StateDir, d.Name())); err != nil || len(left) > 0 {
					t.Errorf("%v is left in the spool's directory (%v)", left, err)
				}
			}
		}
	}
}

// TestSpoolIsSealed looks into the spool's file for what was put there.
func TestSpoolIsSealed(t *testing.T) {
	p, err := newPages(recordBlocks * 3 * chunk.Grain)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	s := newSpool(t.TempDir())
	defer s.close()
	var blocks []block
	want := map[uint32][]byte{}
	for i := range uint32(2*recordBlocks + 7) {
		page, _, _ := p.take()
		copy(p.at(page), bytes.Repeat([]byte("secret of the guest "), chunk.Grain/20))
		p.at(page)[0] = byte(i)
		blocks, want[i*3] = append(blocks, block{i * 3, page}), bytes.Clone(p.at(page))
	}
	last, err := s.put(record{}, blocks, p)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.file.Stat()
	if err != nil || info.Mode().Perm() != 0o600 || info.Sys() == nil {
		t.Fatalf("%v, %v", info, err)
	}
	raw := make([]byte, s.end)
	if _, err := s.file.ReadAt(raw, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("secret")) {
		t.Error("the guest's data lies in the spool in clear")
	}
	var before unix.Stat_t
	if err := unix.Fstat(int(s.file.Fd()), &before); err != nil {
		t.Fatal(err)
	}
	if before.Nlink != 0 {
		t.Errorf("the spool's file has %d names", before.Nlink)
	}
	records := 0
	for r := last; r.n > 0; records++ {
		if r, err = s.get(r, func(grain uint32, data []byte) error {
			if !bytes.Equal(data, want[grain]) {
				t.Errorf("grain %d comes back otherwise", grain)
			}
			delete(want, grain)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if records != 3 || len(want) > 0 {
		t.Errorf("%d records, %d blocks did not come back", records, len(want))
	}
	var after unix.Stat_t
	if err := unix.Fstat(int(s.file.Fd()), &after); err != nil {
		t.Fatal(err)
	}
	if after.Blocks >= before.Blocks/2 {
		t.Errorf("the spool took %d sectors, and %d when all was read", before.Blocks, after.Blocks)
	}
}

// TestRemovedFile makes the spool's file where there is no O_TMPFILE.
func TestRemovedFile(t *testing.T) {
	dir := t.TempDir()
	f, err := removedFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := removedFile(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a file was made in a directory that is not there")
	}
}

// TestSpoolFails lets the spool's disk fail in several ways. Nothing is committed.
func TestSpoolFails(t *testing.T) {
	lowMemory(t, 3<<19)
	m := &made{drives: []madeDrive{sparse("drive-scsi0", 256<<20, 64)}}
	m.shuffle(1)
	r := newRepo(t)
	archive := m.file(t, t.TempDir(), "x.vma")

	t.Run("no directory", func(t *testing.T) {
		o := options(t)
		o.Name, o.StateDir = "x", write(t, filepath.Join(t.TempDir(), "file"), nil)
		wants(t, mustFail(t, r, archive, o), "needs a temporary file", o.StateDir, "not a directory")
	})
	t.Run("full", func(t *testing.T) {
		o := options(t)
		o.Name = "x"
		if err := unix.Mount("tmpfs", o.StateDir, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Unmount(o.StateDir, 0); err != nil {
				t.Error(err)
			}
		}()
		wants(t, mustFail(t, r, archive, o), "needs a temporary file", o.StateDir, "no space left on device", "VAULTFS_STATE_DIR")
	})
	t.Run("damaged", func(t *testing.T) {
		p, err := newPages(8 * chunk.Grain)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		s := newSpool(t.TempDir())
		defer s.close()
		page, _, _ := p.take()
		_, _ = rand.Read(p.at(page))
		at, err := s.put(record{}, []block{{1, page}}, p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.file.WriteAt([]byte{0x55}, at.off+2000); err != nil {
			t.Fatal(err)
		}
		_, err = s.get(at, func(uint32, []byte) error { t.Error("gives what was damaged"); return nil })
		if err == nil || !strings.Contains(err.Error(), "does not come back") {
			t.Errorf("%v", err)
		}
	})
}

// hanging gives what it has and then nothing, until it is closed.
type hanging struct {
	io.Reader
	end chan struct{}
}

func (h *hanging) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if err == io.EOF {
		<-h.end
	}
	return n, err
}

// TestInterrupted interrupts ingests of a stream that hangs, in memory and with a
// spool. Nothing is committed, and they end at once.
func TestInterrupted(t *testing.T) {
	r := newRepo(t)
	m := &made{drives: []madeDrive{sparse("drive-scsi0", 256<<20, 64)}}
	m.shuffle(1)
	archive := m.bytes(t)
	for _, memory := range []int{pageMemory, 3 << 19} {
		lowMemory(t, memory)
		ctx, cancel := context.WithCancel(t.Context())
		in := &hanging{bytes.NewReader(archive[:len(archive)-5000]), make(chan struct{})}
		o := options(t)
		o.Name, o.Stdin = "x", in
		time.AfterFunc(300*time.Millisecond, cancel)
		made, err := Ingest(ctx, r, []string{Stream}, o)
		close(in.end)
		if !errors.Is(err, context.Canceled) || len(made) > 0 {
			t.Errorf("%d snapshots, %v", len(made), err)
		}
	}
	if all, err := r.Snapshots(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
}

// TestCutOff cuts an archive off everywhere, roughly. None of the parts becomes a
// snapshot, and each error says where.
func TestCutOff(t *testing.T) {
	r := newRepo(t)
	m := &made{configs: guestConfig("f3b1a1b4-66a1-4d2f-8f8a-0f1e2d3c4b5a"), drives: []madeDrive{driveOf("drive-scsi0", content(1, 2<<20))}}
	whole := m.bytes(t)
	path := filepath.Join(t.TempDir(), "vzdump-qemu-100-2026_01_02-03_04_05.vma")
	for n := 0; n < len(whole); n += 1 + len(whole)/60 {
		o := options(t)
		err := mustFail(t, r, write(t, path, whole[:n]), o)
		if n == 0 {
			wants(t, err, "it is empty")
			continue
		}
		wants(t, err, "it is cut off: it ends ", "still being copied")
	}
}

// TestZeroBlocks stores blocks of zeros that an archive holds as such, which is
// allowed, as holes.
func TestZeroBlocks(t *testing.T) {
	r := newRepo(t)
	m := &made{zeros: true, drives: []madeDrive{driveOf("drive-scsi0", content(1, 1<<20)), driveOf("drive-scsi1", make([]byte, 1<<20))}}
	o := options(t)
	o.Name = "x"
	s := ingestOne(t, r, m.file(t, t.TempDir(), "x.vma"), o)
	same(t, r, s, m)
	d, err := r.OpenDisk(t.Context(), item(t, s, "drive-scsi1"))
	if err != nil || d.Allocated() != 0 {
		t.Errorf("%d bytes are stored of a disk of zeros (%v)", d.Allocated(), err)
	}
	if vma.BlockSize != chunk.Grain {
		t.Error("a block is no grain")
	}
}
