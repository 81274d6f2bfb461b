package format

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// parseHex fills dst from exactly that many lower-case hex digits.
func parseHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("name %q: %d characters, want %d", s, len(s), 2*len(dst))
	}
	if strings.ToLower(s) != s {
		return fmt.Errorf("name %q: upper-case digits", s)
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("name %q: %w", s, err)
	}
	return nil
}
