package seal

import (
	"testing"
	"time"

	"github.com/zeebo/blake3"
)

// counting is a fixed "random" reader: 0, 1, 2, …, 255, 0, …
type counting struct{ next byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

const testPassword = "correct horse"

var (
	testConfig  = []byte("config of the test repository\n")
	testSession = [16]byte([]byte("session-00000001"))
	testSalt    = [32]byte([]byte("object salt 32 bytes long 456789"))
	testTime    = time.Unix(1_790_000_000, 0).UTC()
	cheap       = KDF{Memory: 8, Time: 1, Threads: 1}
)

// fixedSecrets are the same in every run; the golden files are made of them.
func fixedSecrets(t testing.TB) *Secrets {
	t.Helper()
	s, err := NewSecrets(&counting{})
	if err != nil {
		t.Fatal(err)
	}
	s.Config = ConfigHash(testConfig)
	s.Polynomial = 0x3DA3358B4DC173
	return s
}

func fixedSlot(t testing.TB) []byte {
	t.Helper()
	b, _, err := newPasswordSlot(&counting{next: 0x80}, fixedSecrets(t), []byte(testPassword), "root@host", testTime, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fixedPlainSlot(t testing.TB) []byte {
	t.Helper()
	b, _, err := newSlot(&counting{next: 0x80}, fixedSecrets(t), nil, "root@host", testTime, &slotBody{Kind: KindPlain})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, b []byte) *Slot {
	t.Helper()
	sl, err := ParseSlot(b)
	if err != nil {
		t.Fatal(err)
	}
	return sl
}

// resum gives a slot that was altered the checksum of what it now is.
func resum(b []byte) []byte {
	content := b[:len(b)-slotSum]
	sum := blake3.Sum256(content)
	return append(content[:len(content):len(content)], sum[:]...)
}
