package seal

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"
)

// MaxLabel is the greatest length of a slot's label, in bytes.
const MaxLabel = 256

// Plaintext of a label: created (8) ‖ length (2) ‖ text padded with zeros.
const (
	labelHeader = 8 + 2
	labelSize   = labelHeader + MaxLabel
	sealedLabel = labelSize + Overhead
)

// labelBox seals labels under a key derived from the structure key, so that only
// who unlocked the repository sees them, also those of other slots.
func (s *Secrets) labelBox(b *slotBody) *Box {
	return NewBox(derive(s.StructureKey[:], b.Salt[:], "vaultfs slot label", s.RepoID[:], b.ID[:]))
}

func (s *Secrets) sealLabel(b *slotBody, label string, created time.Time) ([]byte, error) {
	if len(label) > MaxLabel || !utf8.ValidString(label) {
		return nil, fmt.Errorf("label of %d bytes: want UTF-8 of at most %d", len(label), MaxLabel)
	}
	plain := make([]byte, labelSize)
	binary.BigEndian.PutUint64(plain, uint64(created.Unix()))
	binary.BigEndian.PutUint16(plain[8:], uint16(len(label)))
	copy(plain[labelHeader:], label)
	return s.labelBox(b).Seal(nil, 0, nil, plain), nil
}

// Label returns the slot's label and when it was made, to the second, in UTC. s
// are the secrets of any slot of the same repository.
func (sl *Slot) Label(s *Secrets) (label string, created time.Time, err error) {
	plain, err := s.labelBox(&sl.body).Open(nil, 0, nil, sl.body.Label)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("%v: label: %w", sl, err)
	}
	n := int(binary.BigEndian.Uint16(plain[8:]))
	if n > MaxLabel || !utf8.Valid(plain[labelHeader:labelHeader+n]) || !zero(plain[labelHeader+n:]) {
		return "", time.Time{}, damaged(sl.String(), "label is malformed")
	}
	created = time.Unix(int64(binary.BigEndian.Uint64(plain)), 0).UTC()
	return string(plain[labelHeader : labelHeader+n]), created, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
