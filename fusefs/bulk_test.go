package fusefs

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Large requests are the kernel's own read-ahead: they give the same bytes as small
// ones, and nothing is read ahead of them a second time. Small ones in a row are
// read ahead of.
func TestBulkReads(t *testing.T) {
	disk := newFakeDisk(64<<20, 40, 200)
	disk.record = true
	d, err := newOpenDisk(disk)
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]*handle{
		"raw":   {content: d, bulk: d.Disk, leave: func() {}},
		"qcow2": {content: d.view, bulk: d.bulk, leave: func() {}},
	} {
		t.Run(name, func(t *testing.T) {
			disk.prefetched = nil
			want := make([]byte, h.content.Size())
			if n, err := h.bulk.ReadAt(want, 0); n != len(want) && err != io.EOF {
				t.Fatal(n, err)
			}
			if got := readHandle(t, h, bulkRead); !bytes.Equal(got, want) {
				t.Error("large requests give other bytes")
			}
			if n := len(disk.prefetched); n > 0 {
				t.Errorf("large requests are read ahead of %d times", n)
			}
			if got := readHandle(t, h, bulkRead/8); !bytes.Equal(got, want) {
				t.Error("small requests give other bytes")
			}
			if len(disk.prefetched) == 0 {
				t.Error("small requests are not read ahead of")
			}
		})
	}
}

// readHandle reads a whole file by requests of n bytes.
func readHandle(t *testing.T, h *handle, n int) (all []byte) {
	t.Helper()
	for off := int64(0); off < h.content.Size(); off += int64(n) {
		r, errno := h.Read(t.Context(), make([]byte, n), off)
		if errno != 0 {
			t.Fatal(errno)
		}
		b, status := r.Bytes(nil)
		if status != fuse.OK {
			t.Fatal(status)
		}
		all = append(all, b...)
	}
	return all
}

// A large request that meets damage says where that begins, not where it began itself.
func TestBulkReadNamesTheDamage(t *testing.T) {
	disk := newFakeDisk(64<<20, 40, 200)
	d, err := newOpenDisk(disk)
	if err != nil {
		t.Fatal(err)
	}
	bad := disk.blocks[len(disk.blocks)/2] * blockSize
	disk.bad.Store(bad)
	var said []string
	h := &handle{content: d, bulk: d.Disk, path: "vda.raw", leave: func() {}, report: &reporter{log: func(s string) { said = append(said, s) }}}
	if _, errno := h.Read(t.Context(), make([]byte, bulkRead), max(0, bad-3*blockSize)); errno != syscall.EIO {
		t.Errorf("damage is read: %v", errno)
	}
	if want := fmt.Sprintf("reading vda.raw at %d: ", bad); len(said) != 1 || !strings.HasPrefix(said[0], want) {
		t.Errorf("reported %q, want %q", said, want)
	}
}
