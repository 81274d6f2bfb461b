package format

import (
	"bytes"
	"encoding/binary"
)

const ledgerMagic = "vfsldgr\x01"

// MaxLedgerSize bounds a ledger object, in bytes.
const MaxLedgerSize = 64 << 20

// A Ledger tells what was proved and when. Objects ledger/<random> are made
// once and never overwritten; together they are the ledger: of each pack and
// each snapshot the latest time counts. Several may be replaced by one that
// says what they say.
type Ledger struct {
	Packs     []LedgerPack     // sorted by hash, each once
	Snapshots []LedgerSnapshot // sorted by ID, each once
}

// A LedgerPack says when a pack was last read as a whole.
type LedgerPack struct {
	Pack PackHash
	Time int64 // Unix seconds; negated if damage was found
}

// A LedgerSnapshot says when all that a snapshot names was last read.
type LedgerSnapshot struct {
	Snapshot SnapshotID
	Time     int64 // Unix seconds; negated if damage was found
}

const (
	ledgerPackSize     = 32 + 8
	ledgerSnapshotSize = 16 + 8
)

// Encode makes the ledger object of that name.
func (l *Ledger) Encode(salt Salt, key KeyFunc, name string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(l.Packs)))
	for _, p := range l.Packs {
		b = binary.BigEndian.AppendUint64(append(b, p.Pack[:]...), uint64(p.Time))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Snapshots)))
	for _, s := range l.Snapshots {
		b = binary.BigEndian.AppendUint64(append(b, s.Snapshot[:]...), uint64(s.Time))
	}
	return sealObject(ledgerMagic, salt, key, name, b)
}

// DecodeLedger reads the ledger object of that name.
func DecodeLedger(key KeyFunc, name string, b []byte) (*Ledger, error) {
	b, err := openObject(ledgerMagic, key, name, b)
	if err != nil {
		return nil, err
	}
	return decodeLedgerBody(b)
}

func decodeLedgerBody(b []byte) (*Ledger, error) {
	packs, b, err := cutTable(b, ledgerPackSize)
	if err != nil {
		return nil, err
	}
	snapshots, b, err := cutTable(b, ledgerSnapshotSize)
	if err != nil {
		return nil, err
	}
	if len(b) > 0 {
		return nil, damaged("%d bytes follow the ledger", len(b))
	}
	l := new(Ledger)
	for ; len(packs) > 0; packs = packs[ledgerPackSize:] {
		l.Packs = append(l.Packs, LedgerPack{PackHash(packs), int64(binary.BigEndian.Uint64(packs[32:]))})
	}
	for ; len(snapshots) > 0; snapshots = snapshots[ledgerSnapshotSize:] {
		l.Snapshots = append(l.Snapshots, LedgerSnapshot{SnapshotID(snapshots), int64(binary.BigEndian.Uint64(snapshots[16:]))})
	}
	if !ascending(l.Packs, func(a, b LedgerPack) int { return a.Pack.Compare(b.Pack) }) ||
		!ascending(l.Snapshots, func(a, b LedgerSnapshot) int { return bytes.Compare(a.Snapshot[:], b.Snapshot[:]) }) {
		return nil, damaged("a list of the ledger is not sorted")
	}
	return l, nil
}

// cutTable cuts a table of rows of one size, with their number before it, off b.
func cutTable(b []byte, row int) (table, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, damaged("cut off")
	}
	n := int64(binary.BigEndian.Uint32(b)) * int64(row)
	if b = b[4:]; n > int64(len(b)) {
		return nil, nil, damaged("%d bytes of a list in %d", n, len(b))
	}
	return b[:n], b[n:], nil
}
