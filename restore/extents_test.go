package restore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"vaultfs/ingest"
	"vaultfs/repo"
	"vaultfs/restore"
)

// repeating is a disk of three segments and a part, one of which is zeros: with
// chunks that it holds again and again, alone in a cluster, over the border of a
// segment, and at an end that is no whole grain.
func repeating() image {
	m := newImage(200<<20+512*3,
		ingest.Run{Off: 4096, Len: 4096}, ingest.Run{Off: 5 << 16, Len: 3 << 20}, ingest.Run{Off: 64<<20 - 1<<20, Len: 2 << 20},
		ingest.Run{Off: 67<<20 + 8192, Len: 20480}, ingest.Run{Off: 192 << 20, Len: 8<<20 + 512*3})
	for _, r := range m.runs[1:3] {
		copy(m.bytes[r.Off:r.Off+r.Len], bytes.Repeat([]byte{0xff}, int(r.Len)))
	}
	return m
}

func TestDiskOfRepeatedChunks(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, filepath.Join(dir, "repo"))
	want := repeating()
	snap := commit(t, r, map[string]image{"vda": want})
	vda := *snap.Item("vda")
	files := map[string]string{}
	for _, format := range []string{restore.Raw, restore.QCOW2} {
		var p restore.Progress
		path := filepath.Join(dir, "vda."+format)
		if _, err := restore.Item(t.Context(), r, snap, vda, path, restore.Options{Progress: &p}); err != nil {
			t.Fatal(err)
		}
		if p.Done.Load() != p.Total.Load() {
			t.Errorf("%s: progress ends at %d of %d", format, p.Done.Load(), p.Total.Load())
		}
		var b bytes.Buffer
		if _, err := restore.StreamItem(t.Context(), r, snap, vda, &b, restore.Options{Format: format}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("%s: the stream is another than the file (%v)", format, err)
		}
		mustEqualView(t, r, vda, format, b.Bytes())
		files[format] = path
	}
	if got, err := os.ReadFile(files[restore.Raw]); err != nil || !bytes.Equal(got, want.bytes) {
		t.Errorf("the file differs from the disk (%v)", err)
	}
	mustRun(t, "qemu-img", "check", "-q", "-f", "qcow2", files[restore.QCOW2])
	mustRun(t, "qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", files[restore.QCOW2], files[restore.Raw])
	if n := allocated(t, files[restore.Raw]); n > 14<<20 {
		t.Errorf("a disk with 13 MiB of data takes %d bytes", n)
	}
}

// mustEqualView compares what was written with what is read byte by byte from the
// same source, as the mount reads it.
func mustEqualView(t *testing.T, r *repo.Repo, it repo.Item, format string, got []byte) {
	t.Helper()
	s, err := restore.Open(t.Context(), r, it, format)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, s.Size())
	if n, err := s.ReadAt(want, 0); n < len(want) {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: what was written is not what is read", format)
	}
}
