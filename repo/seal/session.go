package seal

import (
	"crypto/hpke"
	"crypto/rand"
	"fmt"
)

// SealedSecretSize is the length of a sealed session secret, in bytes: identity
// ID, encapsulated key (ML-KEM-768's 1088 bytes and X25519's 32), ciphertext.
const SealedSecretSize = IdentityIDSize + 1088 + 32 + KeySize + Overhead

// NewSessionSecret draws the secret of a session.
func NewSessionSecret() Key {
	var k Key
	rand.Read(k[:]) // never fails (crypto/rand)
	return k
}

// SealSecret seals a session's secret to the newest identity by one-shot HPKE
// (RFC 9180, base mode; MLKEM768-X25519, HKDF-SHA256, AES-256-GCM). It binds
// the repository and the session.
func (s *Secrets) SealSecret(session [16]byte, secret Key) ([]byte, error) {
	if len(s.Identities) == 0 {
		return nil, fmt.Errorf("seal session secret: %w", ErrUnknownIdentity)
	}
	id := s.Identities[len(s.Identities)-1]
	public, err := kem().NewPublicKey(id.Public)
	if err != nil {
		return nil, fmt.Errorf("seal session secret: identity %x: %w", id.ID, err)
	}
	sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), s.sessionInfo(session), secret[:])
	if err != nil {
		return nil, fmt.Errorf("seal session secret: identity %x: %w", id.ID, err)
	}
	return append(id.ID[:], sealed...), nil
}

// OpenSecret opens what SealSecret made for the same session. It returns
// ErrUnknownIdentity, or ErrAuth if the bytes were altered or belong to another
// session. It costs a key generation; callers keep the result.
func (s *Secrets) OpenSecret(session [16]byte, sealed []byte) (Key, error) {
	if len(sealed) != SealedSecretSize {
		return Key{}, damaged("session secret", "%d bytes, want %d", len(sealed), SealedSecretSize)
	}
	id, err := s.identity([IdentityIDSize]byte(sealed))
	if err != nil {
		return Key{}, fmt.Errorf("session secret: %w", err)
	}
	private, err := kem().NewPrivateKey(id.Private[:])
	if err != nil {
		return Key{}, fmt.Errorf("session secret: identity %x: private key is not valid", id.ID)
	}
	plain, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), s.sessionInfo(session), sealed[IdentityIDSize:])
	if err != nil {
		return Key{}, fmt.Errorf("session secret: identity %x: %w", id.ID, ErrAuth)
	}
	defer clear(plain)
	return Key(plain), nil
}

func (s *Secrets) sessionInfo(session [16]byte) []byte {
	return []byte(info("vaultfs session", s.RepoID[:], session[:]))
}
