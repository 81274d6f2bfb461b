package format

import (
	"bytes"
	"encoding/binary"

	"vaultfs/repo/seal"
)

const runMagic = "vfsirun\x01"

// MaxRunEntries bounds the chunks that one index run lists.
const MaxRunEntries = 1 << 18

// MaxRunSessions bounds the sessions that one index run names.
const MaxRunSessions = 1 << 12

// MaxRunSize bounds an index run, in bytes.
const MaxRunSize = 64 << 20

const (
	runSessionSize = 16 + 1 // without the sealed secret
	runPackSize    = 32 + saltSize + 4 + 1 + 4
	runEntrySize   = 32 + 1 + 4 + 4 + 4 + 4 + 4
)

// Lengths of an encoded pack and entry, in bytes.
const (
	RunPackSize  = runPackSize
	RunEntrySize = runEntrySize
)

// A Run is one sorted piece of the index: it says in which packs the chunks
// it lists lie. It repeats what the footers of those packs say.
type Run struct {
	Sessions []RunSession
	Packs    []RunPack
	Entries  []RunEntry // sorted by ID, then pack, then ordinal
}

// A RunSession is a session that wrote packs. The sealed secret opens its data
// packs; a session without data packs has none.
type RunSession struct {
	ID           SnapshotID
	SealedSecret []byte
}

// A RunPack is a pack that entries name.
type RunPack struct {
	Hash    PackHash
	Salt    Salt
	Session uint32 // place in Run.Sessions
	Kind    PackKind
	Size    uint32 // bytes
}

// A RunEntry says where a chunk lies.
type RunEntry struct {
	PackEntry
	Pack    uint32 // place in Run.Packs
	Ordinal uint32 // place in the pack
}

// Compare orders entries as a run does.
func (e RunEntry) Compare(o RunEntry) int {
	if c := bytes.Compare(e.ID[:], o.ID[:]); c != 0 {
		return c
	}
	if e.Pack != o.Pack {
		return int(int64(e.Pack) - int64(o.Pack))
	}
	return int(int64(e.Ordinal) - int64(o.Ordinal))
}

// Only returns the run without the packs that keep does not want.
func (r *Run) Only(keep func(RunPack) bool) *Run {
	only := &Run{Sessions: r.Sessions}
	place := make(map[uint32]uint32, len(r.Packs))
	for i, p := range r.Packs {
		if keep(p) {
			place[uint32(i)] = uint32(len(only.Packs))
			only.Packs = append(only.Packs, p)
		}
	}
	for _, e := range r.Entries {
		if at, ok := place[e.Pack]; ok {
			e.Pack = at
			only.Entries = append(only.Entries, e)
		}
	}
	return only
}

// Encode makes the run object of that name.
func (r *Run) Encode(salt Salt, key KeyFunc, name string) []byte {
	b := make([]byte, 0, 64+len(r.Sessions)*(20+seal.SealedSecretSize)+len(r.Packs)*runPackSize+len(r.Entries)*runEntrySize)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Sessions)))
	for _, s := range r.Sessions {
		b = s.Append(b)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Packs)))
	for _, p := range r.Packs {
		b = p.Append(b)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Entries)))
	for _, e := range r.Entries {
		b = e.Append(b)
	}
	return sealObject(runMagic, salt, key, name, b)
}

// DecodeRun reads the run object of that name.
func DecodeRun(key KeyFunc, name string, b []byte) (*Run, error) {
	body, err := openObject(runMagic, key, name, b)
	if err != nil {
		return nil, err
	}
	return decodeRunBody(body)
}

func decodeRunBody(b []byte) (r *Run, err error) {
	r = new(Run)
	if b, err = r.readSessions(b); err != nil {
		return nil, err
	}
	if b, err = r.readPacks(b); err != nil {
		return nil, err
	}
	return r, r.readEntries(b)
}

// count reads a length of items that take at least size bytes each.
func count(b []byte, size int) (int, []byte, error) {
	if len(b) < 4 {
		return 0, nil, damaged("run is cut off")
	}
	n, rest := binary.BigEndian.Uint32(b), b[4:]
	if int64(n)*int64(size) > int64(len(rest)) {
		return 0, nil, damaged("run lists %d items in %d bytes", n, len(rest))
	}
	return int(n), rest, nil
}

func (r *Run) readSessions(b []byte) ([]byte, error) {
	n, b, err := count(b, runSessionSize)
	if err != nil {
		return nil, err
	}
	if n > MaxRunSessions {
		return nil, damaged("run of %d sessions", n)
	}
	r.Sessions = make([]RunSession, n)
	for i := range r.Sessions {
		if r.Sessions[i], b, err = CutRunSession(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (r *Run) readPacks(b []byte) ([]byte, error) {
	n, b, err := count(b, runPackSize)
	if err != nil {
		return nil, err
	}
	r.Packs = make([]RunPack, n)
	for i := range r.Packs {
		p := DecodeRunPack(b)
		r.Packs[i] = p
		if !p.Kind.valid() || int64(p.Session) >= int64(len(r.Sessions)) || p.Size > MaxPackSize ||
			(p.Kind == DataPack && r.Sessions[p.Session].SealedSecret == nil) {
			return nil, damaged("run lists a pack of kind %d of session %d", p.Kind, p.Session)
		}
		b = b[runPackSize:]
	}
	return b, nil
}

func (r *Run) readEntries(b []byte) error {
	n, b, err := count(b, runEntrySize)
	if err != nil {
		return err
	}
	if n > MaxRunEntries || n*runEntrySize != len(b) {
		return damaged("run of %d entries in %d bytes", n, len(b))
	}
	r.Entries = make([]RunEntry, n)
	for i := range r.Entries {
		e := &r.Entries[i]
		*e = DecodeRunEntry(b)
		b = b[runEntrySize:]
		if err := e.validate(); err != nil {
			return err
		}
		if int64(e.Pack) >= int64(len(r.Packs)) || r.Packs[e.Pack].Kind != PackFor(e.Kind) ||
			uint64(e.Offset)+uint64(e.Sealed) > uint64(r.Packs[e.Pack].Size) {
			return damaged("run entry %d does not fit its pack", i)
		}
		if i > 0 && r.Entries[i-1].Compare(*e) >= 0 {
			return damaged("run is not sorted at entry %d", i)
		}
	}
	return nil
}

// Append encodes the session.
func (s RunSession) Append(b []byte) []byte {
	b = append(append(b, s.ID[:]...), byte(min(1, len(s.SealedSecret))))
	return append(b, s.SealedSecret...)
}

// CutRunSession reads an encoded session off b. Its secret shares memory with b.
func CutRunSession(b []byte) (s RunSession, rest []byte, err error) {
	if len(b) < runSessionSize {
		return s, nil, damaged("run is cut off")
	}
	copy(s.ID[:], b)
	has, rest := b[16], b[runSessionSize:]
	switch {
	case has == 0:
		return s, rest, nil
	case has == 1 && len(rest) >= seal.SealedSecretSize:
		s.SealedSecret = rest[:seal.SealedSecretSize:seal.SealedSecretSize]
		return s, rest[seal.SealedSecretSize:], nil
	}
	return s, nil, damaged("run names a session without a secret")
}

// Append encodes the pack.
func (p RunPack) Append(b []byte) []byte {
	b = append(append(b, p.Hash[:]...), p.Salt[:]...)
	b = append(binary.BigEndian.AppendUint32(b, p.Session), byte(p.Kind))
	return binary.BigEndian.AppendUint32(b, p.Size)
}

// DecodeRunPack reads an encoded pack without validating it.
func DecodeRunPack(b []byte) (p RunPack) {
	copy(p.Hash[:], b)
	copy(p.Salt[:], b[32:])
	p.Session, p.Kind, p.Size = binary.BigEndian.Uint32(b[64:]), PackKind(b[68]), binary.BigEndian.Uint32(b[69:])
	return p
}

// DecodeRunEntry reads an encoded entry without validating it.
func DecodeRunEntry(b []byte) (e RunEntry) {
	copy(e.ID[:], b)
	e.Kind = Kind(b[32])
	e.Pack, e.Ordinal = binary.BigEndian.Uint32(b[33:]), binary.BigEndian.Uint32(b[37:])
	e.Offset, e.Sealed, e.Plain = binary.BigEndian.Uint32(b[41:]), binary.BigEndian.Uint32(b[45:]), binary.BigEndian.Uint32(b[49:])
	return e
}

// Append encodes the entry.
func (e RunEntry) Append(b []byte) []byte {
	b = append(append(b, e.ID[:]...), byte(e.Kind))
	for _, v := range [...]uint32{e.Pack, e.Ordinal, e.Offset, e.Sealed, e.Plain} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}
