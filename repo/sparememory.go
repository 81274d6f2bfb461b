package repo

const (
	// spareStep is the unit in which memory for chunks is sized, in bytes, so that
	// that of one fits another.
	spareStep = 32 << 10
	// spareMost is the largest memory that is kept: the longest chunk of a disk.
	spareMost = 512 << 10
	// spareLimit is how much memory is kept for chunks to come, in bytes.
	spareLimit = 4 << 20
)

// spareMemory is memory of chunks that are not needed any more.
type spareMemory struct {
	bySize [spareMost/spareStep + 1][][]byte // by capacity in steps
	bytes  int64
}

// take returns memory for size bytes or more, of length 0.
func (s *spareMemory) take(size int64) []byte {
	if size > spareMost {
		return make([]byte, 0, size)
	}
	steps := int(max(1, (size+spareStep-1)/spareStep))
	for i := steps; i < min(steps+3, len(s.bySize)); i++ {
		if last := len(s.bySize[i]) - 1; last >= 0 {
			b := s.bySize[i][last]
			s.bySize[i][last], s.bySize[i] = nil, s.bySize[i][:last]
			s.bytes -= int64(cap(b))
			return b
		}
	}
	return make([]byte, 0, steps*spareStep)
}

// give takes memory back, or leaves it to the garbage collector.
func (s *spareMemory) give(b []byte) {
	size := cap(b)
	if size == 0 || size > spareMost || size%spareStep != 0 || s.bytes+int64(size) > spareLimit {
		return
	}
	s.bySize[size/spareStep] = append(s.bySize[size/spareStep], b[:0])
	s.bytes += int64(size)
}
