package seal

import "testing"

// allKeys derives one key of each kind.
func allKeys(s *Secrets, secret Key, session [16]byte, salt [32]byte) map[string]Key {
	return map[string]Key{
		"data chunk id":      s.DataIDKey(),
		"structure chunk id": s.StructureIDKey(),
		"data pack":          s.DataPackKey(secret, session, salt),
		"structure pack":     s.StructurePackKey(session, salt),
		"run":                s.RunKey(session, salt),
		"head":               s.HeadKey(salt),
		"mark":               s.MarkKey(salt),
		"policy":             s.PolicyKey(salt),
		"ledger":             s.LedgerKey(salt),
		"lease":              s.LeaseKey(session, salt),
		"manifest":           s.ManifestKey(session, salt),
		"manifest body":      s.ManifestBodyKey(secret, session, salt),
	}
}

func TestKeysAreDistinct(t *testing.T) {
	s := fixedSecrets(t)
	seen := map[Key]string{s.StructureKey: "structure key", s.WriteKey: "write key", s.GrainKey: "grain key"}
	// The session secret is the structure key here: kinds must differ even so.
	for name, k := range allKeys(s, s.StructureKey, testSession, testSalt) {
		if other, twice := seen[k]; twice {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[k] = name
	}
}

// Each object key must depend on everything it is said to be bound to.
func TestKeysDependOnEveryInput(t *testing.T) {
	secret := Key{5}
	base := allKeys(fixedSecrets(t), secret, testSession, testSalt)
	with := func(spoil func(*Secrets)) map[string]Key {
		s := fixedSecrets(t)
		spoil(s)
		return allKeys(s, secret, testSession, testSalt)
	}
	same := fixedSecrets(t)
	ids := []string{"data chunk id", "structure chunk id"}
	bySecret := []string{"data pack", "manifest body"}
	for _, tc := range []struct {
		input     string
		keys      map[string]Key
		unchanged []string
	}{
		{"write key", with(func(s *Secrets) { s.WriteKey[0] ^= 1 }), ids},
		{"repository", with(func(s *Secrets) { s.RepoID[0] ^= 1 }), ids},
		{"structure key", with(func(s *Secrets) { s.StructureKey[0] ^= 1 }), append(ids, bySecret...)},
		{"session", allKeys(same, secret, [16]byte{1}, testSalt), append(ids, "head", "mark", "policy", "ledger")},
		{"salt", allKeys(same, secret, testSession, [32]byte{1}), ids},
		{"secret", allKeys(same, Key{6}, testSession, testSalt), append(ids, "structure pack", "run", "head", "mark", "policy", "ledger", "lease", "manifest")},
	} {
		unchanged := map[string]bool{}
		for _, name := range tc.unchanged {
			unchanged[name] = true
		}
		for name, k := range tc.keys {
			if (k == base[name]) != unchanged[name] {
				t.Errorf("%s: key of %s unchanged: %v, want %v", tc.input, name, k == base[name], unchanged[name])
			}
		}
	}
}
