package chunk

import (
	"bytes"

	"github.com/minio/highwayhash"
)

// Grain is the unit in which guests allocate and disks are cut, in bytes.
const Grain = 4096

// Bounds of a disk chunk, in bytes. They are part of the format: a repository
// cut with others would not deduplicate against this one.
const (
	DiskMin = 32 << 10
	DiskMax = 512 << 10

	// diskBits leading zero bits of a grain's hash end a chunk: one grain in
	// 32, so about 128 KiB beyond the minimum.
	diskBits = 5
)

// Disk cuts guest disks with grain-aligned content-defined chunking. The
// decision to cut after a grain looks at that grain alone, never at a window
// before it; equal runs of grains are therefore cut equally wherever they lie,
// and the cutter has no state at a cut or at a zero grain.
type Disk struct{ key [32]byte }

// NewDisk returns the cutter under a secret key, which keeps the lengths of
// the chunks of known data unknown.
func NewDisk(key [32]byte) *Disk { return &Disk{key: key} }

var zeroGrain [Grain]byte

// Next looks at p, which starts on a grain border where no chunk is open. It
// returns the length of the run of zero grains at the start of p, which is not
// stored, and the length of the chunk that follows it. The length of p is a
// multiple of Grain.
//
// When p ends before the chunk does, n is 0 unless last is set, which says
// that nothing follows p: call again with p[zeros:] and more bytes behind it.
// At most DiskMax bytes beyond the zeros are ever needed.
func (d *Disk) Next(p []byte, last bool) (zeros, n int) {
	zeros = Zeros(p)
	data := p[zeros:]
	for n < len(data) {
		grain := data[n : n+Grain]
		if n > 0 && isZero(grain) {
			return zeros, n
		}
		n += Grain
		if d.Ends(data[:n]) {
			return zeros, n
		}
	}
	if !last {
		return zeros, 0
	}
	return zeros, n
}

// Zeros is the length of the run of zero grains at the start of p, in bytes. The
// length of p is a multiple of Grain.
func Zeros(p []byte) (n int) {
	for n < len(p) && isZero(p[n:n+Grain]) {
		n += Grain
	}
	return n
}

// Ends tells whether a chunk ends by its own bytes, whatever follows it. One that
// does not ended because zeros or nothing followed.
func (d *Disk) Ends(p []byte) bool {
	return len(p) >= DiskMax || len(p) >= DiskMin && d.cutsAfter(p[len(p)-Grain:])
}

func (d *Disk) cutsAfter(grain []byte) bool {
	return highwayhash.Sum64(grain, d.key[:])>>(64-diskBits) == 0
}

// isZero tells whether a grain is all zeros. Most grains that are not differ
// in their first bytes, so those are looked at before the call.
func isZero(grain []byte) bool {
	return grain[0] == 0 && bytes.Equal(grain, zeroGrain[:])
}
