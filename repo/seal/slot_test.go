package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSlotRoundTrip(t *testing.T) {
	s := fixedSecrets(t)
	b, id, err := NewSlot(s, []byte(testPassword), "root@host", testTime, cheap)
	if err != nil {
		t.Fatal(err)
	}
	sl := parse(t, b)
	if sl.ID() != id || len(id) != 16 || sl.Kind() != KindPassword {
		t.Fatalf("id %q, want %q; kind %v", sl.ID(), id, sl.Kind())
	}
	got, err := sl.Open([]byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, s) {
		t.Fatal("secrets differ after a round trip")
	}
	if bytes.Contains(b, []byte("root@host")) || bytes.Contains(b, s.RepoID[:]) || bytes.Contains(b, s.Identities[0].Public[:32]) {
		t.Fatal("a password slot shows what it guards")
	}
}

func TestPlainSlotRoundTrip(t *testing.T) {
	s := fixedSecrets(t)
	b, id, err := NewPlainSlot(s, "root@host", testTime)
	if err != nil {
		t.Fatal(err)
	}
	sl := parse(t, b)
	got, err := sl.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, s) || sl.ID() != id || sl.Kind() != KindPlain {
		t.Fatal("plain slot differs after a round trip")
	}
	if bytes.Contains(b, []byte("root@host")) {
		t.Fatal("the label is in clear")
	}
	if _, err := sl.Open([]byte(testPassword)); !errors.Is(err, ErrNotEncrypted) {
		t.Fatalf("plain slot with a password: %v, want ErrNotEncrypted", err)
	}
}

func TestSlotsDifferEachTime(t *testing.T) {
	s := fixedSecrets(t)
	a, idA, _ := NewSlot(s, []byte("p"), "", testTime, cheap)
	b, idB, _ := NewSlot(s, []byte("p"), "", testTime, cheap)
	if bytes.Equal(a, b) || idA == idB {
		t.Fatal("two slots of the same secrets and password are equal")
	}
}

func TestFullRingFitsSlot(t *testing.T) {
	s := fixedSecrets(t)
	for len(s.Identities) < MaxIdentities {
		id, err := newIdentity(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.Identities = append(s.Identities, id)
	}
	b, _, err := NewSlot(s, []byte("p"), strings.Repeat("x", MaxLabel), testTime, cheap)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > MaxSlotSize*3/4 {
		t.Fatalf("a slot with a full ring has %d bytes: too near to MaxSlotSize", len(b))
	}
	got, err := parse(t, b).Open([]byte("p"))
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("a full ring does not survive a round trip: %v", err)
	}
	s.Identities = append(s.Identities, s.Identities[0])
	if _, _, err := NewSlot(s, []byte("p"), "", testTime, cheap); err == nil {
		t.Fatal("a ring of 17 was accepted")
	}
}

func TestWrongPassword(t *testing.T) {
	sl := parse(t, fixedSlot(t))
	for _, p := range []string{"", "Correct horse", testPassword + " ", testPassword + "\n", "x"} {
		if _, err := sl.Open([]byte(p)); !errors.Is(err, ErrWrongPassword) || errors.Is(err, ErrDamaged) {
			t.Errorf("password %q: %v, want ErrWrongPassword", p, err)
		}
	}
}

func TestNewSlotRefuses(t *testing.T) {
	s := fixedSecrets(t)
	if _, _, err := NewSlot(s, nil, "", testTime, cheap); err == nil {
		t.Error("an empty password was accepted")
	}
	if _, _, err := NewSlot(s, []byte("p"), strings.Repeat("x", MaxLabel+1), testTime, cheap); err == nil {
		t.Error("a label that is too long was accepted")
	}
	if _, _, err := NewPlainSlot(s, "\xff", testTime); err == nil {
		t.Error("a label that is not UTF-8 was accepted")
	}
	for name, spoil := range map[string]func(*Secrets){
		"no polynomial":     func(s *Secrets) { s.Polynomial = 0 },
		"no config":         func(s *Secrets) { s.Config = [32]byte{} },
		"no write key":      func(s *Secrets) { s.WriteKey = Key{} },
		"no identity":       func(s *Secrets) { s.Identities = nil },
		"foreign public":    func(s *Secrets) { s.Identities[0].Public = bytes.Clone(s.Identities[0].Public[1:]) },
		"identity twice":    func(s *Secrets) { s.Identities = append(s.Identities, s.Identities[0]) },
		"no repository id":  func(s *Secrets) { s.RepoID = [32]byte{} },
		"wrong private key": func(s *Secrets) { s.Identities[0].Private[0] ^= 1 },
	} {
		s := fixedSecrets(t)
		spoil(s)
		if _, _, err := NewPlainSlot(s, "", testTime); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Every single-bit change, as damage and as an attacker would make it, with a
// fresh checksum.
func TestSlotBitFlips(t *testing.T) {
	for _, tc := range []struct {
		name     string
		slot     []byte
		password []byte
	}{{"password", fixedSlot(t), []byte(testPassword)}, {"plain", fixedPlainSlot(t), nil}} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range tc.slot {
				flipped := bytes.Clone(tc.slot)
				flipped[i] ^= 1 << (i % 8)
				if _, err := ParseSlot(flipped); !errors.Is(err, ErrDamaged) {
					t.Fatalf("byte %d flipped: %v, want ErrDamaged", i, err)
				}
				if tc.password != nil && i < len(tc.slot)-slotSum {
					checkForged(t, i, resum(flipped), tc.password)
				}
			}
		})
	}
}

func checkForged(t *testing.T, i int, forged, password []byte) {
	t.Helper()
	sl, err := ParseSlot(forged)
	if err == nil {
		_, err = sl.Open(password)
	}
	newer := i == len(slotMagic) && errors.Is(err, ErrNewerFormat)
	if !newer && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongPassword) {
		t.Fatalf("byte %d forged: %v, want ErrDamaged or ErrWrongPassword", i, err)
	}
}

func TestSlotTruncatedOrExtended(t *testing.T) {
	b := fixedSlot(t)
	for n := range b {
		if _, err := ParseSlot(b[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d of %d bytes: %v, want ErrDamaged", n, len(b), err)
		}
	}
	if _, err := ParseSlot(append(b, 0)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("one byte more: %v", err)
	}
	if _, err := ParseSlot(resum(append(b, 0))); !errors.Is(err, ErrDamaged) {
		t.Fatalf("one byte more, fresh checksum: %v", err)
	}
}

// Well formed, with a valid checksum, but of sizes that no slot has.
func TestSlotFieldSizes(t *testing.T) {
	for name, edit := range map[string]func(*slotBody){
		"file too large":       func(b *slotBody) { b.Payload = make([]byte, MaxSlotSize) },
		"label a byte short":   func(b *slotBody) { b.Label = b.Label[1:] },
		"label null":           func(b *slotBody) { b.Label = nil },
		"payload only a tag":   func(b *slotBody) { b.Payload = b.Payload[:Overhead] },
		"plain with a lock":    func(b *slotBody) { b.Kind = KindPlain },
		"password and no lock": func(b *slotBody) { b.Lock = nil },
		"unknown kind":         func(b *slotBody) { b.Kind = 3 },
		"plain and no payload": func(b *slotBody) { b.Kind, b.Lock, b.Payload = KindPlain, nil, nil },
	} {
		body := parse(t, fixedSlot(t)).body
		edit(&body)
		if _, err := ParseSlot(body.encode()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}

func TestSlotVersions(t *testing.T) {
	b := fixedSlot(t)
	for version, want := range map[byte]error{0: ErrDamaged, 2: ErrNewerFormat, 255: ErrNewerFormat} {
		b[len(slotMagic)] = version
		if _, err := ParseSlot(resum(b)); !errors.Is(err, want) {
			t.Errorf("version %d: %v, want %v", version, err, want)
		}
	}
}

func TestSlotBodyMustBeCanonical(t *testing.T) {
	b := fixedPlainSlot(t)
	for name, edit := range map[string]func([]byte) []byte{
		"kind as two bytes":   func(c []byte) []byte { return append([]byte{c[0], c[1], 0x18}, c[2:]...) },
		"indefinite map":      func(c []byte) []byte { return append(append([]byte{0xbf}, c[1:]...), 0xff) },
		"unknown field":       func(c []byte) []byte { return append(append([]byte{c[0] + 1}, c[1:]...), 0x07, 0x00) },
		"duplicate field":     func(c []byte) []byte { return append(append([]byte{c[0] + 1}, c[1:]...), 0x01, 0x02) },
		"missing field":       func(c []byte) []byte { return append([]byte{c[0] - 1}, c[3:]...) },
		"fields out of order": func(c []byte) []byte { return append(append([]byte{c[0]}, c[3:]...), c[1:3]...) },
		"tag":                 func(c []byte) []byte { return append([]byte{0xd9, 0xd9, 0xf7}, c...) },
		"another kind":        func(c []byte) []byte { return append([]byte{c[0], c[1], byte(KindPassword)}, c[3:]...) },
	} {
		body := edit(bytes.Clone(b[slotHeader : len(b)-slotSum]))
		forged := resum(append(append(slotPrefix(), body...), make([]byte, slotSum)...))
		if _, err := ParseSlot(forged); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}

func TestParameterBombsAreRefusedBeforeDeriving(t *testing.T) {
	sl := parse(t, fixedSlot(t))
	start := time.Now()
	for _, k := range []KDF{
		{maxKDFMemory + 1, 1, 1}, {math.MaxUint32, 1, 1}, {7, 1, 1}, {15, 1, 2}, {0, 1, 1},
		{8, maxKDFTime + 1, 1}, {8, math.MaxUint32, 1}, {8, 0, 1},
		{1024, 1, maxKDFThreads + 1}, {math.MaxUint32, math.MaxUint32, 255}, {8, 1, 0},
	} {
		body := sl.body
		body.Lock = &slotLock{Memory: k.Memory, Time: k.Time, Threads: k.Threads}
		if _, err := ParseSlot(body.encode()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: %v, want ErrDamaged", k, err)
		}
		if _, _, err := NewSlot(fixedSecrets(t), []byte("p"), "", testTime, k); err == nil {
			t.Errorf("%+v: accepted for a new slot", k)
		}
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("refusing took %v: something was derived", d)
	}
	for _, k := range []KDF{DefaultKDF(), cheap, {maxKDFMemory, maxKDFTime, maxKDFThreads}} {
		if err := k.validate(); err != nil {
			t.Errorf("%+v: %v", k, err)
		}
	}
}

// The commitment alone decides which password a slot has: a payload that would
// open under a second one is not tried.
func TestCommitment(t *testing.T) {
	sl := parse(t, fixedSlot(t))
	other := []byte("another password")
	kek, commitment := cheap.slotKeys(other, sl.body.Salt)
	plain, err := encodePayload(fixedSecrets(t))
	if err != nil {
		t.Fatal(err)
	}

	foreign := sl.body
	foreign.Payload = NewBox(kek).Seal(nil, 0, foreign.header(), plain)
	if _, err := parse(t, foreign.encode()).Open(other); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("payload opens, commitment is another's: %v, want ErrWrongPassword", err)
	}

	lock := *sl.body.Lock
	lock.Commitment = commitment
	stolen := sl.body
	stolen.Lock = &lock
	if _, err := parse(t, stolen.encode()).Open(other); !errors.Is(err, ErrDamaged) {
		t.Errorf("commitment is right, payload is another's: %v, want ErrDamaged", err)
	}
}

func TestDefaultCostOpens(t *testing.T) {
	b, _, err := NewSlot(fixedSecrets(t), []byte("p"), "", testTime, DefaultKDF())
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, b).body.Lock.kdf(); got != (KDF{64 << 10, 3, 4}) {
		t.Fatalf("default cost %+v", got)
	}
}
