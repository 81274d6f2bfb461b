package seal

import (
	"bytes"
	"crypto/hpke"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// MaxIdentities is the largest ring of identities that a slot may hold.
const MaxIdentities = 16

// Sizes of an identity's parts, in bytes. A private key is the 32-byte seed of
// MLKEM768-X25519, a public key is ML-KEM-768's 1184 bytes and X25519's 32.
const (
	IdentityIDSize    = 8
	identityPublicLen = 1184 + 32
)

// Identity is an HPKE key pair that sessions seal their secret to.
type Identity struct {
	ID      [IdentityIDSize]byte // random; names the identity in sealed secrets
	Private Key
	Public  []byte
}

// Secrets is all that a key slot guards: whoever holds it can read and write
// the repository, and only what it says of the repository is to be believed.
type Secrets struct {
	RepoID       [32]byte
	Config       [32]byte   // ConfigHash of the repository's config file
	Identities   []Identity // 1 to MaxIdentities, newest last
	IDKey        Key        // names chunks
	Polynomial   uint64     // cuts streams
	GrainKey     Key        // cuts disks
	StructureKey Key        // opens maps, indexes, heads, leases, manifests
	WriteKey     Key        // salt of every object key
}

// NewSecrets draws the secrets of a new repository from rand. Config and
// Polynomial stay zero: the caller sets them, and no slot is made before.
func NewSecrets(rand io.Reader) (*Secrets, error) {
	s := &Secrets{}
	id, err := newIdentity(rand)
	if err != nil {
		return nil, err
	}
	s.Identities = []Identity{id}
	for _, b := range [][]byte{s.RepoID[:], s.IDKey[:], s.GrainKey[:], s.StructureKey[:], s.WriteKey[:]} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("draw repository secrets: %w", err)
		}
	}
	return s, nil
}

// ConfigHash is BLAKE3-256 of the bytes of a repository's config file.
func ConfigHash(config []byte) [32]byte { return blake3.Sum256(config) }

// DataIDKey is the key that names chunks of content.
func (s *Secrets) DataIDKey() Key { return s.IDKey }

// StructureIDKey is the key that names structured chunks (maps, pages,
// directories), so that content a guest writes never has the ID of a map.
func (s *Secrets) StructureIDKey() Key {
	return derive(s.IDKey[:], nil, "vaultfs structured chunk id")
}

func newIdentity(rand io.Reader) (Identity, error) {
	var id Identity
	for _, b := range [][]byte{id.ID[:], id.Private[:]} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return Identity{}, fmt.Errorf("draw identity: %w", err)
		}
	}
	var err error
	id.Public, err = publicOf(id.Private)
	return id, err
}

func publicOf(private Key) ([]byte, error) {
	k, err := kem().NewPrivateKey(private[:])
	if err != nil {
		return nil, errors.New("identity: private key is not valid")
	}
	return k.PublicKey().Bytes(), nil
}

func kem() hpke.KEM { return hpke.MLKEM768X25519() }

// validate checks what must hold of secrets before they are sealed and after
// they were opened.
func (s *Secrets) validate() error {
	if n := len(s.Identities); n < 1 || n > MaxIdentities {
		return fmt.Errorf("%d identities, want 1 to %d", n, MaxIdentities)
	}
	seen := make(map[[IdentityIDSize]byte]bool, len(s.Identities))
	for _, id := range s.Identities {
		if seen[id.ID] {
			return fmt.Errorf("identity %x occurs twice", id.ID)
		}
		seen[id.ID] = true
		public, err := publicOf(id.Private)
		if err != nil || !bytes.Equal(public, id.Public) {
			return fmt.Errorf("identity %x: public key does not belong to the private key", id.ID)
		}
	}
	if s.Polynomial == 0 {
		return errors.New("polynomial is not set")
	}
	return s.validateSet()
}

func (s *Secrets) validateSet() error {
	for _, f := range []struct {
		name  string
		value [32]byte
	}{
		{"repository id", s.RepoID}, {"config hash", s.Config}, {"id key", s.IDKey},
		{"grain key", s.GrainKey}, {"structure key", s.StructureKey}, {"write key", s.WriteKey},
	} {
		if f.value == [32]byte{} {
			return fmt.Errorf("%s is not set", f.name)
		}
	}
	return nil
}

// identity returns the identity of that ID.
func (s *Secrets) identity(id [IdentityIDSize]byte) (Identity, error) {
	for _, i := range s.Identities {
		if i.ID == id {
			return i, nil
		}
	}
	return Identity{}, fmt.Errorf("identity %x: %w", id, ErrUnknownIdentity)
}

// String names the identity without its keys.
func (i Identity) String() string { return fmt.Sprintf("identity %x", i.ID) }

// Format writes String for every verb.
func (i Identity) Format(f fmt.State, _ rune) { io.WriteString(f, i.String()) }

// MarshalText returns String.
func (i Identity) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// String returns a fixed text.
func (Secrets) String() string { return redacted }

// Format writes a fixed text for every verb.
func (Secrets) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns a fixed text, for JSON and log/slog.
func (Secrets) MarshalText() ([]byte, error) { return []byte(redacted), nil }
