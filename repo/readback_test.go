package repo_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A pack in which chunks that zstd shortens follow chunks that it does not:
// what one decodes to must not lie where the next is still sealed.
func TestReadBackOfMixedChunks(t *testing.T) {
	disk := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(disk)
	for off := 0; off < len(disk); off += 1 << 20 {
		copy(disk[off+1<<19:], bytes.Repeat([]byte("compressible "), 1<<19/13))
	}
	r := newRepo(t, newStore(t))
	if s := ingestDisk(t, r, "disk/mixed", disk); !bytes.Equal(readDisk(t, r, s), disk) {
		t.Error("the disk comes back different")
	}
}
