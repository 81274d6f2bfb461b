package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
)

func TestSessionSecretRoundTrip(t *testing.T) {
	s := fixedSecrets(t)
	secret := NewSessionSecret()
	sealed, err := s.SealSecret(testSession, secret)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != SealedSecretSize {
		t.Fatalf("%d bytes, want %d", len(sealed), SealedSecretSize)
	}
	got, err := s.OpenSecret(testSession, sealed)
	if err != nil || got != secret {
		t.Fatalf("session secret does not survive a round trip: %v", err)
	}
	if again := NewSessionSecret(); again == secret {
		t.Fatal("two sessions drew the same secret")
	}
}

func TestSealsToNewestOpensByID(t *testing.T) {
	s := fixedSecrets(t)
	secret := NewSessionSecret()
	old, err := s.SealSecret(testSession, secret)
	if err != nil {
		t.Fatal(err)
	}
	newest, err := newIdentity(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.Identities = append(s.Identities, newest)
	sealed, err := s.SealSecret(testSession, secret)
	if err != nil {
		t.Fatal(err)
	}
	if [IdentityIDSize]byte(sealed) != newest.ID {
		t.Error("not sealed to the newest identity")
	}
	for _, b := range [][]byte{old, sealed} {
		if got, err := s.OpenSecret(testSession, b); err != nil || got != secret {
			t.Errorf("ring does not open: %v", err)
		}
	}
	s.Identities = s.Identities[:1]
	if _, err := s.OpenSecret(testSession, sealed); !errors.Is(err, ErrUnknownIdentity) {
		t.Errorf("%v, want ErrUnknownIdentity", err)
	}
}

func TestSessionSecretIsBound(t *testing.T) {
	s := fixedSecrets(t)
	sealed, err := s.SealSecret(testSession, NewSessionSecret())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenSecret([16]byte{1}, sealed); !errors.Is(err, ErrAuth) {
		t.Errorf("another session: %v, want ErrAuth", err)
	}
	other := fixedSecrets(t)
	other.RepoID[0] ^= 1
	if _, err := other.OpenSecret(testSession, sealed); !errors.Is(err, ErrAuth) {
		t.Errorf("another repository: %v, want ErrAuth", err)
	}
	for _, n := range []int{0, 1, IdentityIDSize, SealedSecretSize - 1} {
		if _, err := s.OpenSecret(testSession, sealed[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v, want ErrDamaged", n, err)
		}
	}
	if _, err := s.OpenSecret(testSession, append(bytes.Clone(sealed), 0)); !errors.Is(err, ErrDamaged) {
		t.Error("one byte more was accepted")
	}
}

func TestSessionSecretByteFlips(t *testing.T) {
	s := fixedSecrets(t)
	sealed, err := s.SealSecret(testSession, NewSessionSecret())
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 1 << (i % 8)
		_, err := s.OpenSecret(testSession, flipped)
		want := ErrAuth
		if i < IdentityIDSize {
			want = ErrUnknownIdentity
		}
		if !errors.Is(err, want) {
			t.Fatalf("byte %d flipped: %v, want %v", i, err, want)
		}
	}
}

func BenchmarkOpenSecret(b *testing.B) {
	s := fixedSecrets(b)
	sealed, err := s.SealSecret(testSession, NewSessionSecret())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.OpenSecret(testSession, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
