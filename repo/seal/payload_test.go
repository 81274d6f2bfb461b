package seal

import (
	"bytes"
	"testing"
)

func TestPayloadRefuses(t *testing.T) {
	good, err := encodePayload(fixedSecrets(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodePayload(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := decodePayload(good[:n]); err == nil {
			t.Fatalf("%d of %d bytes accepted", n, len(good))
		}
	}
	encode := func(edit func(*payload)) []byte {
		var p payload
		if err := decodeCanonical(good, &p); err != nil {
			t.Fatal(err)
		}
		edit(&p)
		return encodeCanonical(p)
	}
	ring := func(n int) []payloadIdentity { return make([]payloadIdentity, n) }
	for name, b := range map[string][]byte{
		"trailing byte":   append(bytes.Clone(good), 0),
		"no identities":   encode(func(p *payload) { p.Identities = ring(0) }),
		"null identities": encode(func(p *payload) { p.Identities = nil }),
		"17 identities":   encode(func(p *payload) { p.Identities = ring(MaxIdentities + 1) }),
		"foreign public":  encode(func(p *payload) { p.Identities[0].Public[3] ^= 1 }),
		"zero polynomial": encode(func(p *payload) { p.Polynomial = 0 }),
		"zero grain key":  encode(func(p *payload) { p.GrainKey = [32]byte{} }),
		// a map whose first field, the repository ID, is one byte short
		"short byte string": append([]byte{good[0], good[1], 0x58, 31}, good[5:]...),
	} {
		if _, err := decodePayload(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
