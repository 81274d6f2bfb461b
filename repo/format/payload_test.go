package format

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A payload that does not decode to just the size that is wanted is damage, and
// nothing beyond that size is written.
func TestOpenPayload(t *testing.T) {
	noise := make([]byte, 5000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for name, plain := range map[string][]byte{"text": bytes.Repeat([]byte("some text "), 500), "noise": noise, "nothing": {}} {
		payload := Payload(nil, plain)
		if name != "text" && payload[0] != payloadRaw {
			t.Errorf("%s: encoding %d", name, payload[0])
		}
		memory := bytes.Repeat([]byte{0xa5}, len(plain)+100)
		got, err := OpenPayload(memory[:0:len(plain)], payload, len(plain))
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%s: %v", name, err)
		}
		if len(got) > 0 && &got[0] != &memory[0] {
			t.Errorf("%s: the memory that was given is not used", name)
		}
		if got, err := OpenPayload(make([]byte, 0, 3), payload, len(plain)); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s, with too little memory: %v", name, err)
		}
		wrong := map[string][]byte{"cut": payload[:len(payload)-1], "of another encoding": append([]byte{2}, payload[1:]...),
			"with more after it": append(bytes.Clone(payload), 1)}
		if name == "text" {
			wrong["twice"] = append(bytes.Clone(payload), payload[1:]...)
			wrong["an empty frame"] = []byte{payloadZstd}
			wrong["no frame"] = []byte{payloadZstd, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		}
		for what, p := range wrong {
			if _, err := OpenPayload(memory[:0:len(plain)], p, len(plain)); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		for _, size := range []int{len(plain) - 1, len(plain) + 1} {
			if _, err := OpenPayload(memory[:0:len(plain)+1], payload, size); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s as %d bytes of %d: %v", name, size, len(plain), err)
			}
		}
		if !bytes.Equal(memory[len(plain)+1:], bytes.Repeat([]byte{0xa5}, 99)) {
			t.Errorf("%s: written beyond the memory that was given", name)
		}
	}
}

// More effort makes real text smaller, and it comes back the same way.
func TestSmallPayloadIsSmaller(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var plain []byte
	for _, name := range sources {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		plain = append(plain, b...)
	}
	fast, small := Payload(nil, plain), SmallPayload(nil, plain)
	if len(small) >= len(fast) {
		t.Errorf("%d bytes, not less than %d", len(small), len(fast))
	}
	got, err := OpenPayload(nil, small, len(plain))
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes come back, want %d (%v)", len(got), len(plain), err)
	}
}
