package qcow2

// Source is the disk that a [View] shows. Its methods are called concurrently,
// and what they return must not change during the View's life.
type Source interface {
	// ReadAt reads guest bytes as [io.ReaderAt] does. What is not allocated
	// reads as zeros.
	ReadAt(p []byte, off int64) (int, error)

	// Size is the disk's length in bytes. The View rounds it up to a multiple
	// of 512, with zeros.
	Size() int64

	// SegmentSize is the length in bytes of every segment but the last, which
	// ends with the disk: a power of two, 1 MiB to 512 MiB.
	SegmentSize() int64

	// Clusters is the number of allocated 64 KiB clusters of a segment. It has
	// to be cheap: New calls it for every segment.
	Clusters(segment int) uint32

	// Bitmap says which clusters of a segment are allocated: cluster i is bit
	// i%64 of word i/64. It has a word for every 64 clusters of the segment or
	// more, and no bit set past the disk's end. The View does not write to it.
	Bitmap(segment int) ([]uint64, error)
}
