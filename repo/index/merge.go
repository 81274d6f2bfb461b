package index

import (
	"bytes"
	"encoding/binary"

	"vaultfs/chunk"
)

// A mergeHead is a source's next entry, and the first 8 bytes of its ID.
type mergeHead struct {
	entryReader
	b      []byte // nil at the end
	prefix uint64
}

func (h *mergeHead) look() {
	if h.b = h.entry(); h.b != nil {
		h.prefix = binary.BigEndian.Uint64(h.b)
	}
}

// eachEntry gives the encoded entries of all sources by rising ID, with the
// places of their packs, without repetitions and what is in packs that are gone.
func (p *mergePlan) eachEntry(fn func(entry []byte, place uint32) error) error {
	heads := make([]mergeHead, len(p.sources))
	for i, s := range p.sources {
		r, err := s.entriesByID()
		if err != nil {
			return err
		}
		heads[i].entryReader = r
		heads[i].look()
	}
	var same seenPlaces
	for least := lowestHead(heads); least >= 0; least = lowestHead(heads) {
		h := &heads[least]
		place := p.places[least][entryPack(h.b)]
		if place != gone && same.first(h.b, place) {
			if err := fn(h.b, place); err != nil {
				return err
			}
		}
		if err := h.next(); err != nil {
			return err
		}
		h.look()
	}
	return nil
}

// lowestHead is the place of the entry with the lowest ID; -1 behind the last.
func lowestHead(heads []mergeHead) int {
	least := -1
	for i := range heads {
		h := &heads[i]
		if h.b == nil {
			continue
		}
		if least < 0 || h.prefix < heads[least].prefix ||
			h.prefix == heads[least].prefix && bytes.Compare(h.b[:32], heads[least].b[:32]) < 0 {
			least = i
		}
	}
	return least
}

// seenPlaces tells repetitions among the places of one chunk.
type seenPlaces struct {
	id     chunk.ID
	places [][2]uint32 // pack and ordinal
}

// first tells whether an entry is not a repetition. Entries come by rising ID.
func (s *seenPlaces) first(entry []byte, pack uint32) bool {
	if string(entry[:len(s.id)]) != string(s.id[:]) {
		copy(s.id[:], entry)
		s.places = s.places[:0]
	}
	at := [2]uint32{pack, entryOrdinal(entry)}
	for _, p := range s.places {
		if p == at {
			return false
		}
	}
	s.places = append(s.places, at)
	return true
}
