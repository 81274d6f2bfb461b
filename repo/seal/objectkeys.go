package seal

// The key of every stored object is
//
//	HKDF-SHA256(secret, salt = write key, info = label ‖ 0 ‖ repository ID ‖ session ID ‖ object salt)
//
// where the object salt is 32 random bytes in the object's header, so no two
// objects share a key and ordinals may start at zero in each. The secret is the
// session's for what only readers may open, else the structure key. The write
// key makes it so that only a slot holder can write an object that opens.

func (s *Secrets) objectKey(secret Key, label string, parts ...[]byte) Key {
	return derive(secret[:], s.WriteKey[:], label, append([][]byte{s.RepoID[:]}, parts...)...)
}

// DataPackKey is the key of a data pack of a session.
func (s *Secrets) DataPackKey(secret Key, session [16]byte, salt [32]byte) Key {
	return s.objectKey(secret, "vaultfs data pack", session[:], salt[:])
}

// StructurePackKey is the key of a structure pack of a session.
func (s *Secrets) StructurePackKey(session [16]byte, salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs structure pack", session[:], salt[:])
}

// RunKey is the key of an index run of a session.
func (s *Secrets) RunKey(session [16]byte, salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs run", session[:], salt[:])
}

// HeadKey is the key of a head, which belongs to no session.
func (s *Secrets) HeadKey(salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs head", salt[:])
}

// MarkKey is the key of the mark of a forgotten snapshot.
func (s *Secrets) MarkKey(salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs mark", salt[:])
}

// PolicyKey is the key of a policy.
func (s *Secrets) PolicyKey(salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs policy", salt[:])
}

// LedgerKey is the key of a part of the ledger.
func (s *Secrets) LedgerKey(salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs ledger", salt[:])
}

// LeaseKey is the key of the lease of a session.
func (s *Secrets) LeaseKey(session [16]byte, salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs lease", session[:], salt[:])
}

// ManifestKey is the key of a manifest's structure part: what forget, gc and
// the next incremental must know.
func (s *Secrets) ManifestKey(session [16]byte, salt [32]byte) Key {
	return s.objectKey(s.StructureKey, "vaultfs manifest", session[:], salt[:])
}

// ManifestBodyKey is the key of a manifest's body, which only readers open.
func (s *Secrets) ManifestBodyKey(secret Key, session [16]byte, salt [32]byte) Key {
	return s.objectKey(secret, "vaultfs manifest body", session[:], salt[:])
}
