// Package seal holds a repository's keys: how they are drawn, kept in key
// slots under a password, sealed to a session and turned into the key of each
// stored object. It does no I/O and decides nothing about where bytes live.
//
//	password ── argon2id ──► slot key ──► Secrets (a slot's payload)
//	Secrets.Identities ── HPKE ──► session secret (sealed in packs and runs)
//	session secret, Secrets ── HKDF ──► object key ──► Box (AES-256-GCM)
//
// Whoever holds only the stored files learns from this package's formats how
// many slots there are, what each costs to try, and nothing else. The byte
// layout stands in repo/FORMAT.md.
package seal
