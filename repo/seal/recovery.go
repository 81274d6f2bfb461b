package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/zeebo/blake3"
)

// Bounds of a recovery file and of the config in it, in bytes.
const (
	MaxRecoverySize = 256 << 10
	MaxConfigSize   = 64 << 10
)

const (
	recoveryMagic   = "vfsrcov"
	recoveryVersion = 1
	recoveryHeader  = len(recoveryMagic) + 1 + 4 + 4
	recoveryBegin   = "-----BEGIN VAULTFS RECOVERY FILE-----\n"
	recoveryEnd     = "-----END VAULTFS RECOVERY FILE-----\n"
	recoverySum     = "checksum blake3 "
	recoveryColumns = 64
)

const recoveryAbout = `# vaultfs recovery file
#
# This is a spare copy of one key to a vaultfs backup repository, and of the
# repository's settings. It holds no backups. It brings a repository back to
# life whose "keys" or "config" was lost or damaged:
#
#     vaultfs key import FILE
#
# Keep it somewhere other than the repository. It is plain text and may be
# printed; everything down to the checksum at the end is needed, unchanged.
#
`

const recoveryPassword = `# The key is locked with the password that it had when this file was made.
# Without that password nobody can use this file, neither a thief nor you.
`

const recoveryPlain = `# WARNING: the repository is not encrypted, and this key has no password.
# Whoever reads this file holds the key itself.
`

// EncodeRecovery returns the text of a recovery file: the slot as it stands,
// locked or in clear, and the config.
func EncodeRecovery(slot, config []byte) ([]byte, error) {
	sl, err := ParseSlot(slot)
	if err != nil {
		return nil, fmt.Errorf("recovery file: %w", err)
	}
	if len(config) > MaxConfigSize {
		return nil, fmt.Errorf("recovery file: config of %d bytes, want at most %d", len(config), MaxConfigSize)
	}
	var b strings.Builder
	b.WriteString(recoveryAbout)
	fmt.Fprintf(&b, "# Key %s\n", sl.ID())
	if sl.Kind() == KindPlain {
		b.WriteString(recoveryPlain)
	} else {
		b.WriteString(recoveryPassword)
	}
	b.WriteString(armour(packRecovery(slot, config)))
	b.WriteString(recoveryChecksum(b.String()))
	return []byte(b.String()), nil
}

// DecodeRecovery returns the slot, which parses, and the config of a recovery
// file. Line ends may be CRLF and blank lines may follow; any other change
// returns ErrDamaged. A newer file or slot returns ErrNewerFormat. The config is
// to be believed once it has the hash that the opened slot states.
func DecodeRecovery(file []byte) (slot, config []byte, err error) {
	const object = "recovery file"
	if len(file) > MaxRecoverySize {
		return nil, nil, damaged(object, "%d bytes, want at most %d", len(file), MaxRecoverySize)
	}
	text := strings.TrimRight(strings.ReplaceAll(string(file), "\r\n", "\n"), "\n") + "\n"
	covered := text[:strings.LastIndexByte(text[:len(text)-1], '\n')+1]
	if text[len(covered):] != recoveryChecksum(covered) {
		return nil, nil, damaged(object, "checksum does not match, or is missing")
	}
	raw, err := dearmour(skipComments(covered))
	if err != nil {
		return nil, nil, damaged(object, "%v", err)
	}
	if slot, config, err = unpackRecovery(raw); err != nil {
		return nil, nil, err
	}
	if _, err := ParseSlot(slot); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", object, err)
	}
	return slot, config, nil
}

// packRecovery returns magic ‖ version ‖ config length ‖ slot length ‖ config ‖ slot.
func packRecovery(slot, config []byte) []byte {
	raw := append([]byte(recoveryMagic), recoveryVersion)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(config)))
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(slot)))
	return append(append(raw, config...), slot...)
}

func unpackRecovery(raw []byte) (slot, config []byte, err error) {
	const object = "recovery file"
	if len(raw) < recoveryHeader || string(raw[:len(recoveryMagic)]) != recoveryMagic {
		return nil, nil, damaged(object, "not a recovery file")
	}
	if v := raw[len(recoveryMagic)]; v > recoveryVersion {
		return nil, nil, fmt.Errorf("%s: %w (version %d)", object, ErrNewerFormat, v)
	} else if v < recoveryVersion {
		return nil, nil, damaged(object, "version %d", v)
	}
	configLen := uint64(binary.BigEndian.Uint32(raw[recoveryHeader-8:]))
	slotLen := uint64(binary.BigEndian.Uint32(raw[recoveryHeader-4:]))
	rest := raw[recoveryHeader:]
	if configLen > MaxConfigSize || configLen+slotLen != uint64(len(rest)) {
		return nil, nil, damaged(object, "lengths do not add up")
	}
	return bytes.Clone(rest[configLen:]), bytes.Clone(rest[:configLen]), nil
}

// armour returns raw in base64 (RFC 4648 section 4) in lines of 64, between a
// begin and an end line.
func armour(raw []byte) string {
	text := base64.StdEncoding.EncodeToString(raw)
	var b strings.Builder
	b.WriteString(recoveryBegin)
	for len(text) > 0 {
		n := min(recoveryColumns, len(text))
		b.WriteString(text[:n])
		b.WriteByte('\n')
		text = text[n:]
	}
	b.WriteString(recoveryEnd)
	return b.String()
}

// dearmour accepts exactly what armour returns.
func dearmour(text string) ([]byte, error) {
	body := strings.TrimSuffix(strings.TrimPrefix(text, recoveryBegin), recoveryEnd)
	raw, err := base64.StdEncoding.DecodeString(body)
	if err != nil || armour(raw) != text {
		return nil, fmt.Errorf("the block between the begin and end lines is malformed")
	}
	return raw, nil
}

func skipComments(text string) string {
	for strings.HasPrefix(text, "#") {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}

// recoveryChecksum is the last line: BLAKE3-256 of all the text before it, with
// LF line ends.
func recoveryChecksum(covered string) string {
	sum := blake3.Sum256([]byte(covered))
	return recoverySum + hex.EncodeToString(sum[:]) + "\n"
}
