package repo

import (
	"crypto/rand"

	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

func newSalt() (s format.Salt) {
	rand.Read(s[:])
	return s
}

func (r *Repo) headKey(salt format.Salt) *seal.Box { return seal.NewBox(r.secrets.HeadKey(salt)) }

func (r *Repo) markKey(salt format.Salt) *seal.Box { return seal.NewBox(r.secrets.MarkKey(salt)) }

func (r *Repo) policyKey(salt format.Salt) *seal.Box { return seal.NewBox(r.secrets.PolicyKey(salt)) }

func (r *Repo) ledgerKey(salt format.Salt) *seal.Box { return seal.NewBox(r.secrets.LedgerKey(salt)) }

func (r *Repo) runKey(session format.SnapshotID) format.KeyFunc {
	return func(salt format.Salt) *seal.Box { return seal.NewBox(r.secrets.RunKey(session, salt)) }
}

func (r *Repo) leaseKey(session format.SnapshotID) format.KeyFunc {
	return func(salt format.Salt) *seal.Box { return seal.NewBox(r.secrets.LeaseKey(session, salt)) }
}

func (r *Repo) manifestKey(session format.SnapshotID) format.KeyFunc {
	return func(salt format.Salt) *seal.Box { return seal.NewBox(r.secrets.ManifestKey(session, salt)) }
}

func (r *Repo) manifestBodyKey(session format.SnapshotID, secret seal.Key) format.KeyFunc {
	return func(salt format.Salt) *seal.Box {
		return seal.NewBox(r.secrets.ManifestBodyKey(secret, session, salt))
	}
}

// sessionSecret opens the sealed secret of a session, once.
func (r *Repo) sessionSecret(session format.SnapshotID, sealed []byte) (seal.Key, error) {
	r.mu.Lock()
	secret, ok := r.secret[session]
	r.mu.Unlock()
	if ok {
		return secret, nil
	}
	secret, err := r.secrets.OpenSecret(session, sealed)
	if err != nil {
		return seal.Key{}, &DamageError{"secret of session " + session.String()[:8], err}
	}
	r.mu.Lock()
	r.secret[session] = secret
	r.mu.Unlock()
	return secret, nil
}

// packBox derives the key of a pack.
func (r *Repo) packBox(h format.PackHeader, sealedSecret []byte) (*seal.Box, error) {
	if h.Kind == format.StructurePack {
		return seal.NewBox(r.secrets.StructurePackKey(h.Session, h.Salt)), nil
	}
	secret, err := r.sessionSecret(h.Session, sealedSecret)
	if err != nil {
		return nil, err
	}
	return seal.NewBox(r.secrets.DataPackKey(secret, h.Session, h.Salt)), nil
}
