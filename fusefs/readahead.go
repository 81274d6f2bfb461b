package fusefs

import "sync"

const (
	maxStreams  = 16
	confirmedBy = 3 // reads in a row make a sequential reader

	// Reads of one reader come out of order, since the kernel sends several at a
	// time. A read continues a stream if it is at most this many times its own
	// length away from the stream's end, so a random reader's hardly ever does.
	tolerance = 8

	// Bytes asked for ahead of a reader, doubled as it goes on. It is asked again
	// after each part of a window, since a disk may leave out what is too much to
	// begin at once.
	firstWindow = 1 << 20
	lastWindow  = 8 << 20
	windowParts = 8

	// idleAfter reads of others a sequential reader's place may be taken.
	idleAfter = 256
)

// readAhead recognises sequential readers of a disk and has what they want next
// made ready. Handles do not matter: it looks at which bytes of the disk are read,
// so it serves .raw and .qcow2 alike.
type readAhead struct {
	disk interface {
		Size() int64
		NextData(off int64) (int64, error)
		Prefetch(off, n int64)
	}

	mu      sync.Mutex // never held during I/O
	reads   int64
	streams [maxStreams]stream
}

// stream is a reader that may be sequential. The zero stream is a free place.
type stream struct {
	end    int64 // offset after the furthest byte read
	asked  int64 // end when chunks were last asked for
	window int64
	hits   int   // reads that continued it
	used   int64 // number of its last read
}

func (s *stream) confirmed() bool { return s.hits >= confirmedBy }

// observe is told of each read before it is done.
func (r *readAhead) observe(off, n int64) {
	r.mu.Lock()
	r.reads++
	s := r.near(off, n)
	if s == nil {
		if before := r.before(off); before != nil {
			s = r.overHole(before.end, off, n)
		}
	}
	if s == nil {
		s = r.place()
		*s = stream{end: off, asked: off}
	} else {
		s.hits++
	}
	from, to := s.advance(off+n, r.disk.Size())
	s.used = r.reads
	r.mu.Unlock()
	if from < to {
		r.disk.Prefetch(from, to-from)
	}
}

// near finds the stream that a read continues, perhaps out of order.
func (r *readAhead) near(off, n int64) *stream {
	for i := range r.streams {
		s := &r.streams[i]
		if s.used > 0 && max(off-s.end, s.end-off) <= tolerance*n {
			return s
		}
	}
	return nil
}

// before finds the sequential reader that is closest before off, and is at it.
func (r *readAhead) before(off int64) *stream {
	var found *stream
	for i := range r.streams {
		s := &r.streams[i]
		if r.active(s) && s.end <= off && (found == nil || s.end > found.end) {
			found = s
		}
	}
	return found
}

// overHole finds the stream that ends at end if nothing but a hole is between it
// and a read: readers of a qcow2 file, and those that look for data with lseek,
// leave holes out. The lock is given up meanwhile.
func (r *readAhead) overHole(end, off, n int64) *stream {
	r.mu.Unlock()
	data, err := r.disk.NextData(end)
	r.mu.Lock()
	if err != nil || data < off-tolerance*n {
		return nil
	}
	for i := range r.streams {
		if s := &r.streams[i]; s.confirmed() && s.end == end {
			s.end = off
			return s
		}
	}
	return nil
}

// place chooses the stream that a new one replaces: the longest unused that has
// proved nothing, so that random readers leave the sequential ones alone.
func (r *readAhead) place() *stream {
	chosen := &r.streams[0]
	for i := range r.streams {
		if s := &r.streams[i]; r.worth(s) < r.worth(chosen) {
			chosen = s
		}
	}
	return chosen
}

func (r *readAhead) worth(s *stream) int64 {
	if r.active(s) {
		return r.reads + s.used
	}
	return s.used
}

func (r *readAhead) active(s *stream) bool {
	return s.confirmed() && r.reads-s.used < idleAfter
}

// advance moves the stream's end and returns what to ask for, which is nothing
// while the reader has not gone on by a part of the window.
func (s *stream) advance(end, size int64) (from, to int64) {
	s.end = max(s.end, end)
	if !s.confirmed() || s.end-s.asked < s.window/windowParts {
		return 0, 0
	}
	s.window = min(max(2*s.window, firstWindow), lastWindow)
	s.asked = s.end
	return s.end, min(s.end+s.window, size)
}
