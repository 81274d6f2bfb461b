package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// passwordCost is the cost of trying a new password. Tests lower it.
var passwordCost = seal.DefaultKDF()

// maxSlots bounds the number of key slots: opening may try each.
const maxSlots = 16

// InitOptions says what repository to make.
type InitOptions struct {
	Password     []byte
	NoEncryption bool     // the keys stand in clear in the repository
	Label        string   // of the first key slot: "root@host"
	Cost         seal.KDF // of trying a password; zero for the default
}

// Init makes a repository in an empty store.
func Init(ctx context.Context, st *store.Dir, o InitOptions) error {
	if o.NoEncryption == (len(o.Password) > 0) {
		return errors.New("init: either a password or no encryption")
	}
	alone, err := initLease(ctx, st)
	if err != nil {
		return err
	}
	defer alone.Release(context.WithoutCancel(ctx))
	if err := mustBeEmpty(ctx, st); err != nil {
		return err
	}
	secrets, err := seal.NewSecrets(rand.Reader)
	if err != nil {
		return err
	}
	if secrets.Polynomial, err = chunk.NewPolynomial(); err != nil {
		return err
	}
	config := &format.Config{Repo: secrets.RepoID, SegmentSize: SegmentSize, Encrypted: !o.NoEncryption}
	raw := config.Encode()
	secrets.Config = seal.ConfigHash(raw)
	slot, id, err := newSlot(secrets, o)
	if err != nil {
		return err
	}
	if err := st.Put(ctx, "keys/"+id, slot); err != nil {
		return err
	}
	// From the first on there is always a head: none means that it was lost.
	head := &format.Head{Seq: 1}
	key := func(salt format.Salt) *seal.Box { return seal.NewBox(secrets.HeadKey(salt)) }
	if err := st.Put(ctx, headObject(1), head.Encode(newSalt(), key, headObject(1))); err != nil {
		return err
	}
	// The config comes last: with it the repository exists.
	return st.Put(ctx, configObject, raw)
}

// initLease keeps others from making a repository in the same place. One that
// was left by a process that died is broken.
func initLease(ctx context.Context, st *store.Dir) (*store.Lease, error) {
	const name = "init"
	leases, err := st.Leases(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		if l.Name != name || l.Alive {
			continue
		}
		if err := st.BreakLease(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	l, err := st.OpenLease(ctx, name, nil)
	if errors.Is(err, store.ErrExists) {
		return nil, fmt.Errorf("%w: somebody is just making it", ErrExists)
	}
	return l, err
}

func newSlot(secrets *seal.Secrets, o InitOptions) (slot []byte, id string, err error) {
	if o.NoEncryption {
		return seal.NewPlainSlot(secrets, o.Label, time.Now())
	}
	if o.Cost == (seal.KDF{}) {
		o.Cost = passwordCost
	}
	return seal.NewSlot(secrets, o.Password, o.Label, time.Now(), o.Cost)
}

// mustBeEmpty lets pass, and removes, what an interrupted init leaves: one key
// slot and the first head. A repository that was ever used holds more.
func mustBeEmpty(ctx context.Context, st *store.Dir) error {
	if _, err := st.Size(ctx, configObject); err == nil {
		return ErrExists
	}
	var left []string
	slots := 0
	err := st.List(ctx, "", func(i store.Info) error {
		if strings.HasPrefix(i.Name, "keys/") {
			slots++
		} else if i.Name != headObject(1) {
			return fmt.Errorf("the directory is not empty: it holds %s", i.Name)
		}
		left = append(left, i.Name)
		return nil
	})
	if err == nil && slots > 1 {
		err = fmt.Errorf("the directory is not empty: it holds %d keys", slots)
	}
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := st.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// unlock tries every slot and returns the secrets of the first that opens.
func unlock(ctx context.Context, st *store.Dir, config *format.Config, raw, password []byte) (*seal.Secrets, string, error) {
	slots, bad, err := readSlots(ctx, st)
	if err != nil {
		return nil, "", err
	}
	plain := 0
	for _, s := range slots {
		if s.Kind() == seal.KindPlain {
			plain++
		}
	}
	if plain > 0 && password != nil {
		return nil, "", ErrUnencrypted
	}
	if plain == 0 && len(slots) > 0 && password == nil {
		return nil, "", ErrPasswordNeeded
	}
	for _, s := range slots {
		secrets, err := s.Open(password)
		if errors.Is(err, ErrWrongPassword) {
			continue
		}
		if err != nil {
			bad = append(bad, damage("key slot "+s.ID(), err))
			continue
		}
		if secrets.Config != seal.ConfigHash(raw) || secrets.RepoID != config.Repo || config.Encrypted == (plain > 0) {
			bad = append(bad, &DamageError{"config", fmt.Errorf("it is not the one that key slot %s was made for", s.ID())})
			continue
		}
		if !chunk.ValidPolynomial(secrets.Polynomial) {
			bad = append(bad, &DamageError{"key slot " + s.ID(), errors.New("its polynomial is not irreducible")})
			continue
		}
		return secrets, s.ID(), nil
	}
	switch {
	case len(bad) > 0:
		return nil, "", errors.Join(bad...)
	case len(slots) == 0:
		return nil, "", &DamageError{"keys", errors.New("there is no key slot; `vaultfs key import` puts one back from a recovery file")}
	}
	return nil, "", ErrWrongPassword
}

// readSlots returns the slots that could be read, and what is wrong with others.
func readSlots(ctx context.Context, st *store.Dir) (slots []*seal.Slot, bad []error, err error) {
	var names []string
	err = st.List(ctx, "keys", func(i store.Info) error {
		if names = append(names, i.Name); len(names) > maxSlots {
			return fmt.Errorf("keys: more than %d slots", maxSlots)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		id := strings.TrimPrefix(name, "keys/")
		b, err := st.Get(ctx, name, seal.MaxSlotSize)
		if errors.Is(err, store.ErrNotFound) {
			continue // removed meanwhile
		}
		var slot *seal.Slot
		if err == nil {
			slot, err = seal.ParseSlot(b)
		}
		if err == nil && slot.ID() != id {
			err = fmt.Errorf("%w: it is slot %s under another name", ErrDamaged, slot.ID())
		}
		if err != nil {
			bad = append(bad, damage("key slot "+id, err))
			continue
		}
		slots = append(slots, slot)
	}
	return slots, bad, nil
}

// A KeyInfo describes a key slot.
type KeyInfo struct {
	ID      string
	Label   string
	Created time.Time
	Current bool // it opened the repository
}

// Keys lists the key slots; damaged ones are told in the error.
func (r *Repo) Keys(ctx context.Context) ([]KeyInfo, error) {
	slots, bad, err := readSlots(ctx, r.store)
	if err != nil {
		return nil, err
	}
	var keys []KeyInfo
	for _, s := range slots {
		label, created, err := s.Label(r.secrets)
		if errors.Is(err, seal.ErrAuth) {
			bad = append(bad, &DamageError{"key slot " + s.ID(), errors.New("it is another repository's, or was altered")})
			continue
		} else if err != nil {
			bad = append(bad, damage("key slot "+s.ID(), err))
			continue
		}
		keys = append(keys, KeyInfo{s.ID(), label, created, s.ID() == r.slot})
	}
	return keys, errors.Join(bad...)
}

// AddKey adds a password and returns the ID of its slot.
func (r *Repo) AddKey(ctx context.Context, password []byte, label string) (string, error) {
	if !r.config.Encrypted {
		return "", errors.New("the repository is not encrypted, so it has no passwords")
	}
	slots, bad, err := readSlots(ctx, r.store)
	if err != nil {
		return "", err
	}
	if len(slots)+len(bad) >= maxSlots {
		return "", fmt.Errorf("there are %d keys, and no more are allowed", maxSlots)
	}
	slot, id, err := seal.NewSlot(r.secrets, password, label, time.Now(), passwordCost)
	if err != nil {
		return "", err
	}
	return id, r.store.Put(ctx, "keys/"+id, slot)
}

// RemoveKey removes the slot whose ID begins with prefix, but never the last
// that can be read. One that is damaged, which no password opens any more, can be
// removed as well.
func (r *Repo) RemoveKey(ctx context.Context, prefix string) (string, error) {
	keys, err := r.Keys(ctx)
	if err != nil && len(keys) == 0 {
		return "", err
	}
	var found []string
	err = r.store.List(ctx, "keys", func(i store.Info) error {
		if id := strings.TrimPrefix(i.Name, "keys/"); strings.HasPrefix(id, prefix) {
			found = append(found, id)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case prefix == "" || len(found) == 0:
		return "", fmt.Errorf("key %q: %w", prefix, ErrNotFound)
	case len(found) > 1:
		return "", fmt.Errorf("key %q: %w: it begins %s", prefix, ErrAmbiguous, strings.Join(found, " and "))
	case len(keys) == 1 && keys[0].ID == found[0]:
		return "", ErrLastKey
	}
	return found[0], r.store.Delete(ctx, "keys/"+found[0])
}

// ChangePassword replaces the slot that opened the repository by one under
// another password. The new one is there before the old one goes.
func (r *Repo) ChangePassword(ctx context.Context, password []byte, label string) (string, error) {
	id, err := r.AddKey(ctx, password, label)
	if err != nil {
		return "", err
	}
	if err := r.store.Delete(ctx, "keys/"+r.slot); err != nil {
		return "", fmt.Errorf("removing the old key %s: %w", r.slot, err)
	}
	r.slot = id
	return id, nil
}

// ExportKey returns a recovery file: config and the slot that opened the
// repository, still under its password.
func (r *Repo) ExportKey(ctx context.Context) ([]byte, error) {
	slot, err := r.store.Get(ctx, "keys/"+r.slot, seal.MaxSlotSize)
	if err != nil {
		return nil, damage("key slot "+r.slot, err)
	}
	return seal.EncodeRecovery(slot, r.config.Encode())
}

// ImportKey puts back what a recovery file holds: a missing or damaged config,
// and the key slot. An intact config of another repository is not touched.
func ImportKey(ctx context.Context, st *store.Dir, recovery []byte) (slotID string, err error) {
	slot, config, err := seal.DecodeRecovery(recovery)
	if err != nil {
		return "", fmt.Errorf("recovery file: %w", err)
	}
	parsed, err := seal.ParseSlot(slot)
	if err != nil {
		return "", fmt.Errorf("recovery file: %w", err)
	}
	if _, err := format.DecodeConfig(config); err != nil {
		return "", fmt.Errorf("recovery file: config: %w", err)
	}
	if err := replaceDamaged(ctx, st, configObject, config, func(b []byte) bool {
		_, err := format.DecodeConfig(b)
		return err == nil
	}); err != nil {
		return "", err
	}
	return parsed.ID(), replaceDamaged(ctx, st, "keys/"+parsed.ID(), slot, func(b []byte) bool {
		_, err := seal.ParseSlot(b)
		return err == nil
	})
}

// replaceDamaged puts an object where it is missing or damaged. One that is
// intact but differs is left alone and reported.
func replaceDamaged(ctx context.Context, st *store.Dir, name string, want []byte, intact func([]byte) bool) error {
	have, err := st.Get(ctx, name, seal.MaxSlotSize)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil && !errors.Is(err, store.ErrTooLarge):
		return err
	case err == nil && bytes.Equal(have, want):
		return nil
	case err == nil && intact(have):
		return fmt.Errorf("%s is intact and belongs to another repository than the recovery file", name)
	default:
		if err := st.Delete(ctx, name); err != nil {
			return err
		}
	}
	return st.Put(ctx, name, want)
}
