package vzdump

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"vaultfs/ingest/disk"
	"vaultfs/internal/testguest"
	"vaultfs/internal/vma"
)

// TestDeduplicates takes a real guest's qcow2 in and then an archive of the same
// guest, with its clusters in random order: that adds next to nothing.
func TestDeduplicates(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	image := testguest.Image(t)
	made1, err := disk.Ingest(t.Context(), r, []string{image}, disk.Options{Name: "guest"})
	if err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(dir, "raw")
	run(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, vma.ClusterSize)
	m := &made{configs: guestConfig(firstGuest), drives: []madeDrive{{"drive-scsi0", info.Size(), func(c int64) []byte {
		n, err := f.ReadAt(buf, c*vma.ClusterSize)
		if err != nil && err != io.EOF {
			t.Error(err)
		}
		return buf[:n]
	}}}}
	m.shuffle(1)
	o := options(t)
	in, out := io.Pipe()
	go func() { out.CloseWithError(m.writeTo(out)) }()
	o.Name, o.Stdin = "101", in
	s := ingestOne(t, r, Stream, o)
	first, second := made1[0].Items[0], item(t, s, "drive-scsi0")
	if first.Root != second.Root {
		t.Errorf("the disk of the archive is not that of the image")
	}
	// What is new are the configuration and the description.
	if got := s.Info.Summary.BytesNew; got > 4096 {
		t.Errorf("the archive added %d bytes", got)
	}
	if s.Info.Summary.BytesRead < 256<<20 {
		t.Errorf("the archive had %d bytes: that is no real guest", s.Info.Summary.BytesRead)
	}
	got := make([]byte, vma.ClusterSize)
	d, err := r.OpenDisk(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, m.drives[0].at(0)) {
		t.Errorf("the first cluster differs (%v)", err)
	}
}
