package seal

// payload is the stored form of Secrets.
type payload struct {
	RepoID       [32]byte          `cbor:"1,keyasint"`
	Config       [32]byte          `cbor:"2,keyasint"`
	Identities   []payloadIdentity `cbor:"3,keyasint"`
	IDKey        [KeySize]byte     `cbor:"4,keyasint"`
	Polynomial   uint64            `cbor:"5,keyasint"`
	GrainKey     [KeySize]byte     `cbor:"6,keyasint"`
	StructureKey [KeySize]byte     `cbor:"7,keyasint"`
	WriteKey     [KeySize]byte     `cbor:"8,keyasint"`
}

type payloadIdentity struct {
	ID      [IdentityIDSize]byte    `cbor:"1,keyasint"`
	Private [KeySize]byte           `cbor:"2,keyasint"`
	Public  [identityPublicLen]byte `cbor:"3,keyasint"`
}

// encodePayload returns the stored form; it refuses secrets that
// decodePayload would refuse.
func encodePayload(s *Secrets) ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	p := payload{
		RepoID: s.RepoID, Config: s.Config, IDKey: s.IDKey, Polynomial: s.Polynomial,
		GrainKey: s.GrainKey, StructureKey: s.StructureKey, WriteKey: s.WriteKey,
	}
	for _, id := range s.Identities {
		p.Identities = append(p.Identities, payloadIdentity{
			ID: id.ID, Private: id.Private, Public: [identityPublicLen]byte(id.Public),
		})
	}
	return encodeCanonical(p), nil
}

// decodePayload is the inverse of encodePayload. Its errors say what is wrong
// in words of ours and never quote a value.
func decodePayload(b []byte) (*Secrets, error) {
	var p payload
	if err := decodeCanonical(b, &p); err != nil {
		return nil, err
	}
	s := &Secrets{
		RepoID: p.RepoID, Config: p.Config, IDKey: p.IDKey, Polynomial: p.Polynomial,
		GrainKey: p.GrainKey, StructureKey: p.StructureKey, WriteKey: p.WriteKey,
	}
	for _, id := range p.Identities {
		s.Identities = append(s.Identities, Identity{ID: id.ID, Private: id.Private, Public: id.Public[:]})
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	return s, nil
}
