package qemunbd

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// tail keeps the last bytes of what a process writes.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - tailBytes; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// preamble is what qemu-nbd puts before the reason: its name, and the whole image description, which may hold any
// byte.
var preamble = regexp.MustCompile(`(?s)^.*qemu-nbd: (Failed to blk_new_open '.*=': )?`)

// sentence reduces what qemu-nbd wrote to its last complaint, on one line.
func sentence(stderr string) string {
	s := strings.TrimSpace(preamble.ReplaceAllString(withoutWarnings(stderr), ""))
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
}

// withoutWarnings drops lines such as the one on backing= (QEMU wants null there, which has no spelling in its option
// syntax).
func withoutWarnings(stderr string) string {
	var kept []string
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "qemu-nbd: warning: ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
