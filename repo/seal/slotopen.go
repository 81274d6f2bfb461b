package seal

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"time"
)

// NewSlot seals s under a password and returns the slot file and its name. The
// label is free text, such as "root@host".
func NewSlot(s *Secrets, password []byte, label string, now time.Time, cost KDF) (slot []byte, id string, err error) {
	return newPasswordSlot(rand.Reader, s, password, label, now, cost)
}

// NewPlainSlot returns a slot file that holds s in clear, and its name.
func NewPlainSlot(s *Secrets, label string, now time.Time) (slot []byte, id string, err error) {
	return newSlot(rand.Reader, s, nil, label, now, &slotBody{Kind: KindPlain})
}

func newPasswordSlot(random io.Reader, s *Secrets, password []byte, label string, now time.Time, cost KDF) ([]byte, string, error) {
	if len(password) == 0 {
		return nil, "", errors.New("new key: the password is empty")
	}
	if err := cost.validate(); err != nil {
		return nil, "", fmt.Errorf("new key: %w", err)
	}
	lock := &slotLock{Memory: cost.Memory, Time: cost.Time, Threads: cost.Threads}
	return newSlot(random, s, password, label, now, &slotBody{Kind: KindPassword, Lock: lock})
}

// newSlot fills in what all kinds of slot have in common, then the payload, and
// opens the result once before it returns it: a key that does not open is found
// when it is made, not when it is needed.
func newSlot(random io.Reader, s *Secrets, password []byte, label string, now time.Time, body *slotBody) ([]byte, string, error) {
	plain, err := encodePayload(s)
	if err != nil {
		return nil, "", fmt.Errorf("new key: %w", err)
	}
	defer clear(plain)
	for _, b := range [][]byte{body.ID[:], body.Salt[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, "", fmt.Errorf("new key: %w", err)
		}
	}
	if body.Label, err = s.sealLabel(body, label, now); err != nil {
		return nil, "", fmt.Errorf("new key: %w", err)
	}
	body.lock(password, plain)
	out := body.encode()
	sl, err := ParseSlot(out)
	if err == nil {
		_, err = sl.Open(password)
	}
	if err != nil {
		return nil, "", fmt.Errorf("new key: read back: %w", err)
	}
	return out, sl.ID(), nil
}

// lock sets the payload, and the commitment if there is a password. All other
// fields are set by then: they are the payload's associated data.
func (b *slotBody) lock(password, plain []byte) {
	if b.Kind == KindPlain {
		b.Payload = bytes.Clone(plain)
		return
	}
	kek, commitment := b.Lock.kdf().slotKeys(password, b.Salt)
	defer clear(kek[:])
	b.Lock.Commitment = commitment
	b.Payload = NewBox(kek).Seal(nil, 0, b.header(), plain)
}

// Open returns the secrets. A plain slot opens with an empty password only, else
// ErrNotEncrypted. A password slot returns ErrWrongPassword, or ErrDamaged if
// the password is right and the slot was altered all the same.
func (sl *Slot) Open(password []byte) (*Secrets, error) {
	plain := sl.body.Payload
	switch {
	case sl.body.Kind == KindPlain && len(password) > 0:
		return nil, fmt.Errorf("%v: %w", sl, ErrNotEncrypted)
	case sl.body.Kind == KindPassword:
		var err error
		if plain, err = sl.unlock(password); err != nil {
			return nil, err
		}
		defer clear(plain)
	}
	s, err := decodePayload(plain)
	if err != nil {
		return nil, damaged(sl.String(), "secrets: %v", err)
	}
	return s, nil
}

func (sl *Slot) unlock(password []byte) ([]byte, error) {
	if len(password) == 0 {
		return nil, fmt.Errorf("%v: %w", sl, ErrWrongPassword)
	}
	kek, commitment := sl.body.Lock.kdf().slotKeys(password, sl.body.Salt)
	defer clear(kek[:])
	if subtle.ConstantTimeCompare(commitment[:], sl.body.Lock.Commitment[:]) != 1 {
		return nil, fmt.Errorf("%v: %w", sl, ErrWrongPassword)
	}
	plain, err := NewBox(kek).Open(nil, 0, sl.body.header(), sl.body.Payload)
	if err != nil {
		return nil, damaged(sl.String(), "the password is right, but the slot was altered")
	}
	return plain, nil
}
