package measure

import "sync"

// A sketch remembers which chunks it has seen and what they take compressed, in
// bounded memory. It keeps the chunks whose fingerprint ends in some number of
// zero bits, at first none, and one more whenever there is no room for a further
// one: adaptive sampling (Wegman; Flajolet, "On adaptive sampling", 1990). What
// is kept is an even sample of the distinct chunks, however often each came: with
// k of them the sum over all is right to about 1/√k.
//
// Compressing costs more than all else, so of a part of what is kept, chosen in
// the same way, the compressed length is known.
type sketch struct {
	limit  int   // chunks that are kept
	budget int64 // bytes that are compressed before a part of the chunks must do

	mu         sync.Mutex
	bits       uint // that are zero at the end of what is kept
	kept       map[uint64]kept
	packedBits uint  // that are zero of those whose compressed length is known
	packed     int64 // bytes that were compressed since there are so many

	chunks, bytes int64 // seen, each as often as it came
	earlier       int64 // bytes of these, about, that an earlier disk held
}

// A kept chunk. Its lengths are in bytes.
type kept struct {
	plain  uint32
	stored uint32 // 0 as long as it is not known
	disk   int32  // that it was first seen on
}

func newSketch(limit int, budget int64) *sketch {
	return &sketch{limit: limit, budget: budget, kept: map[uint64]kept{}}
}

func ends(fingerprint uint64, bits uint) bool { return fingerprint&(1<<bits-1) == 0 }

// see takes a chunk of a disk in. It tells whether the caller is to say by pack
// what the chunk takes.
func (s *sketch) see(fingerprint uint64, plain int, disk int) (wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks++
	s.bytes += int64(plain)
	if k, have := s.kept[fingerprint]; have {
		if k.disk < int32(disk) {
			s.earlier += int64(plain) << s.bits
		}
		return false
	}
	if !ends(fingerprint, s.bits) {
		return false
	}
	s.kept[fingerprint] = kept{plain: uint32(plain), disk: int32(disk)}
	for len(s.kept) > s.limit {
		s.thin()
	}
	if !ends(fingerprint, s.bits) || !ends(fingerprint, s.packedBits) {
		return false
	}
	if s.packed += int64(plain); s.packed > s.budget {
		s.packed /= 2
		s.packedBits++
	}
	return true
}

// thin drops about half of what is kept.
func (s *sketch) thin() {
	s.bits++
	for fingerprint := range s.kept {
		if !ends(fingerprint, s.bits) {
			delete(s.kept, fingerprint)
		}
	}
	s.packedBits = max(s.packedBits, s.bits)
}

// pack notes what a chunk takes.
func (s *sketch) pack(fingerprint uint64, stored int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.kept[fingerprint]; ok {
		k.stored = uint32(stored)
		s.kept[fingerprint] = k
	}
}

// An Amount is what distinct chunks come to.
type Amount struct {
	Chunks int64
	Bytes  int64
	Stored int64 // bytes, compressed and sealed
}

// of adds up the chunks that were first seen on a disk, or on any if disk is
// below 0.
func (s *sketch) of(disk int) (a Amount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var known, stored int64 // bytes of chunks whose compressed length is known
	for fingerprint, k := range s.kept {
		if disk >= 0 && k.disk != int32(disk) {
			continue
		}
		a.Chunks++
		a.Bytes += int64(k.plain)
		if ends(fingerprint, s.packedBits) && k.stored > 0 {
			known += int64(k.plain)
			stored += int64(k.stored)
		}
	}
	a.Chunks <<= s.bits
	a.Bytes <<= s.bits
	if known > 0 {
		a.Stored = int64(float64(a.Bytes) * float64(stored) / float64(known))
	}
	return a
}

// oneIn tells which share of the distinct chunks stands for all: 1, 2, 4, ….
func (s *sketch) oneIn() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 1 << s.bits
}
