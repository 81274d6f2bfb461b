package disk

// A place is where a part of a disk's bytes is.
type place uint8

const (
	below   place = iota // in the layer below, and zeros if there is none
	zeros                // nowhere: they are zeros
	inFile               // as they are, in a file
	packed               // compressed; QEMU unpacks them
	unclear              // QEMU is asked, also whether they are zeros
)

// A part is a range of a disk that is in one place.
type part struct {
	off, n int64 // bytes of the disk
	place  place
	at     int64 // inFile: where they begin there
	file   *file // inFile
}

// A layer is one image of a backing chain.
type layer interface {
	// size is that of its disk in bytes.
	size() int64
	// parts calls visit for the parts that make up [off, off+n), in order. The
	// range is not empty and lies within size.
	parts(off, n int64, visit func(part) error) error
}

// A joiner makes one part of those that follow on each other in the same place.
type joiner struct {
	last  part // not told yet; nothing if n is 0
	visit func(part) error
}

func (j *joiner) add(p part) error {
	if p.n == 0 {
		return nil
	}
	l := &j.last
	if l.n > 0 && l.place == p.place && l.file == p.file && (p.place != inFile || l.at+l.n == p.at) {
		l.n += p.n
		return nil
	}
	err := j.flush()
	j.last = p
	return err
}

// flush tells of the last part.
func (j *joiner) flush() error {
	p := j.last
	j.last = part{}
	if p.n == 0 {
		return nil
	}
	return j.visit(p)
}

// A foreign layer is one that QEMU alone reads, with all that is below it.
type foreign struct{}

func (foreign) size() int64 { return 1<<63 - 1 }

func (foreign) parts(off, n int64, visit func(part) error) error {
	return visit(part{off: off, n: n, place: unclear})
}
