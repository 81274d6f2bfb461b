package seal

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// MaxSlotSize bounds a slot file, in bytes: a full ring of identities needs
// about 21 KiB.
const MaxSlotSize = 32 << 10

// A slot file is magic (7) ‖ version (1) ‖ body (canonical CBOR) ‖ BLAKE3-256
// of all before it. Every version keeps the magic, the version's place and the
// checksum, so that a newer slot is told from a damaged one.
const (
	slotMagic   = "vfsslot"
	slotVersion = 1
	slotHeader  = len(slotMagic) + 1
	slotSum     = 32
)

// Kind says how a slot guards the secrets.
type Kind uint8

// The kinds of slot. A new kind is a new version of the format.
const (
	KindPassword Kind = 1 // under a password
	KindPlain    Kind = 2 // in clear, for a repository made with --no-encryption
)

func (k Kind) String() string {
	switch k {
	case KindPassword:
		return "password"
	case KindPlain:
		return "plain"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Slot is a parsed key slot, not yet opened.
type Slot struct {
	body slotBody
}

type slotBody struct {
	Kind    Kind      `cbor:"1,keyasint"`
	ID      [8]byte   `cbor:"2,keyasint"`
	Salt    [32]byte  `cbor:"3,keyasint"`
	Lock    *slotLock `cbor:"4,keyasint,omitempty"` // KindPassword only
	Label   []byte    `cbor:"5,keyasint"`           // sealed
	Payload []byte    `cbor:"6,keyasint,omitempty"` // sealed if KindPassword; absent in the associated data
}

type slotLock struct {
	Memory     uint32        `cbor:"1,keyasint"`
	Time       uint32        `cbor:"2,keyasint"`
	Threads    uint8         `cbor:"3,keyasint"`
	Commitment [KeySize]byte `cbor:"4,keyasint"`
}

func (l *slotLock) kdf() KDF { return KDF{Memory: l.Memory, Time: l.Time, Threads: l.Threads} }

// Kind says whether the slot needs a password.
func (sl *Slot) Kind() Kind { return sl.body.Kind }

// ID is the name of the slot's file: 16 hex digits.
func (sl *Slot) ID() string { return hex.EncodeToString(sl.body.ID[:]) }

// String names the slot.
func (sl *Slot) String() string { return "key " + sl.ID() }

// Format writes String for every verb: a plain slot holds secrets in clear.
func (sl *Slot) Format(f fmt.State, _ rune) { io.WriteString(f, sl.String()) }

// ParseSlot decodes a slot file. It returns ErrDamaged or ErrNewerFormat. What
// it accepts is the one encoding of what it returns, and asks no more of
// argon2id than the limits allow.
func ParseSlot(b []byte) (*Slot, error) {
	if len(b) > MaxSlotSize {
		return nil, damaged("key slot", "%d bytes, want at most %d", len(b), MaxSlotSize)
	}
	if len(b) < slotHeader+slotSum || string(b[:len(slotMagic)]) != slotMagic {
		return nil, damaged("key slot", "not a key slot")
	}
	content := b[:len(b)-slotSum]
	if sum := blake3.Sum256(content); !bytes.Equal(sum[:], b[len(content):]) {
		return nil, damaged("key slot", "checksum does not match")
	}
	if v := b[len(slotMagic)]; v > slotVersion {
		return nil, fmt.Errorf("key slot: %w (version %d)", ErrNewerFormat, v)
	} else if v < slotVersion {
		return nil, damaged("key slot", "version %d", v)
	}
	sl := &Slot{}
	if err := decodeCanonical(content[slotHeader:], &sl.body); err != nil {
		return nil, damaged("key slot", "%v", err)
	}
	if err := sl.body.validate(); err != nil {
		return nil, damaged(sl.String(), "%v", err)
	}
	return sl, nil
}

func (b *slotBody) validate() error {
	if len(b.Label) != sealedLabel {
		return fmt.Errorf("label of %d bytes, want %d", len(b.Label), sealedLabel)
	}
	switch {
	case b.Kind == KindPassword && b.Lock != nil:
		if len(b.Payload) <= Overhead {
			return fmt.Errorf("payload of %d bytes", len(b.Payload))
		}
		return b.Lock.kdf().validate()
	case b.Kind == KindPlain && b.Lock == nil:
		if len(b.Payload) == 0 {
			return fmt.Errorf("no payload")
		}
		return nil
	}
	return fmt.Errorf("%v slot with the fields of another kind", b.Kind)
}

// header is the associated data of the payload: all of the slot before it.
func (b *slotBody) header() []byte {
	h := *b
	h.Payload = nil
	return append(slotPrefix(), encodeCanonical(h)...)
}

func (b *slotBody) encode() []byte {
	out := append(slotPrefix(), encodeCanonical(b)...)
	sum := blake3.Sum256(out)
	return append(out, sum[:]...)
}

func slotPrefix() []byte { return append([]byte(slotMagic), slotVersion) }
