package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
)

// KeySize is the length of every symmetric secret, in bytes.
const KeySize = 32

const redacted = "[redacted]"

// Key is a secret of 32 bytes. It can be assigned to and from [32]byte; as a
// Key, no formatting verb and no text or JSON encoder shows it.
type Key [KeySize]byte

// String returns a fixed text.
func (Key) String() string { return redacted }

// Format writes a fixed text for every verb.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns a fixed text, for JSON and log/slog.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// derive is HKDF-SHA256 (RFC 5869) with info = label ‖ 0x00 ‖ parts. Labels
// hold no zero byte and the parts of one label have fixed lengths, so no two
// labels or parts ever make the same info.
func derive(secret, salt []byte, label string, parts ...[]byte) Key {
	out, err := hkdf.Key(sha256.New, secret, salt, info(label, parts...), KeySize)
	if err != nil {
		panic("seal: hkdf of a 32-byte key: " + err.Error()) // only an impossible length fails
	}
	defer clear(out)
	return Key(out)
}

func info(label string, parts ...[]byte) string {
	var b strings.Builder
	b.WriteString(label)
	b.WriteByte(0)
	for _, p := range parts {
		b.Write(p)
	}
	return b.String()
}
