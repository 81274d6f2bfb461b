package fusefs

import (
	"io"
	"path/filepath"
	"testing"

	"vaultfs/ingest/vzdump"
	"vaultfs/internal/vma"
)

// BenchmarkReadArchive reads the computed archive of a full disk in an encrypted
// repository, and the disk itself, none of them in the page cache.
func BenchmarkReadArchive(b *testing.B) {
	disk := newFakeDisk(benchSize+1<<20, 1, 0) // the archive is read up to benchSize
	for i := range disk.size / blockSize {
		disk.blocks = append(disk.blocks, i)
	}
	view, err := vma.NewView(&vma.Header{Drives: []vma.Drive{{ID: 1, Name: "drive-scsi0", Size: disk.size}}}, []vma.Source{disk})
	if err != nil {
		b.Fatal(err)
	}
	r, _ := newRealRepository(b)
	o := vzdump.Options{Name: "101", Stdin: io.NewSectionReader(view, 0, view.Size()), StateDir: b.TempDir()}
	if _, err := vzdump.Ingest(b.Context(), r, []string{"-"}, o); err != nil {
		b.Fatal(err)
	}
	dir, _ := mount(b, FromRepo(r), Options{})
	for _, name := range []string{"*.vma", "disks/*.raw"} {
		found, err := filepath.Glob(filepath.Join(dir, "vzdump/101/latest", name))
		if err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
		b.Run("sequential/"+filepath.Ext(name)[1:], func(b *testing.B) { benchSequential(b, found[0]) })
		b.Run("random/"+filepath.Ext(name)[1:], func(b *testing.B) { benchRandom(b, found[0]) })
	}
}
