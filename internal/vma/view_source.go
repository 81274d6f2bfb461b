package vma

// Source is the disk behind a drive of a [View]. Its methods are called
// concurrently, and what they return must not change during the View's life.
type Source interface {
	// ReadAt reads the disk's bytes as [io.ReaderAt] does.
	ReadAt(p []byte, off int64) (int, error)

	// Size is the disk's length in bytes.
	Size() int64

	// SegmentSize is the length in bytes of every segment but the last, which
	// ends with the disk: a multiple of 256 KiB.
	SegmentSize() int64

	// Grains is the number of grains of a segment, of 4 KiB each, that are not
	// zeros throughout. It has to be cheap: NewView calls it for every segment.
	Grains(segment int) uint32

	// GrainBitmap says which grains of a segment these are: grain i is bit i%64
	// of word i/64. It has a word for every 64 grains of the segment or more, and
	// no bit set past the disk's end. The View does not write to it.
	GrainBitmap(segment int) ([]uint64, error)
}
