package seal

import (
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Limits of what a slot may ask of argon2id, held before anything is derived.
const (
	maxKDFMemory  = 256 << 10 // KiB
	maxKDFTime    = 10
	maxKDFThreads = 8
)

// KDF is the cost of trying one password: argon2id (RFC 9106).
type KDF struct {
	Memory  uint32 // KiB; at least 8 a thread
	Time    uint32 // passes
	Threads uint8  // lanes
}

// DefaultKDF is the cost of new slots, RFC 9106's second recommendation.
func DefaultKDF() KDF { return KDF{Memory: 64 << 10, Time: 3, Threads: 4} }

func (k KDF) validate() error {
	switch {
	case k.Threads < 1 || k.Threads > maxKDFThreads:
		return fmt.Errorf("argon2id threads %d, want 1 to %d", k.Threads, maxKDFThreads)
	case k.Time < 1 || k.Time > maxKDFTime:
		return fmt.Errorf("argon2id passes %d, want 1 to %d", k.Time, maxKDFTime)
	case k.Memory < 8*uint32(k.Threads) || k.Memory > maxKDFMemory:
		return fmt.Errorf("argon2id memory %d KiB, want %d to %d", k.Memory, 8*uint32(k.Threads), maxKDFMemory)
	}
	return nil
}

// slotKeys derives the key that seals a slot's payload, and the commitment that
// tells a wrong password from damage and ties the slot to one password:
// AES-GCM alone can be made to open under two keys.
func (k KDF) slotKeys(password []byte, salt [32]byte) (kek, commitment Key) {
	master := argon2.IDKey(password, salt[:], k.Time, k.Memory, k.Threads, KeySize)
	defer clear(master)
	return derive(master, nil, "vaultfs slot key"), derive(master, nil, "vaultfs slot commitment")
}
