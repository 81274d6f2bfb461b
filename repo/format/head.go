package format

import (
	"bytes"
	"slices"
)

const headMagic = "vfshead\x01"

// MaxHeadSize bounds a head object, in bytes.
const MaxHeadSize = 64 << 20

// A Head says which runs make up the index. It is replaced only if unchanged:
// the object head/<Seq> is made once, never overwritten, and the one with the
// highest Seq is in force.
type Head struct {
	Seq       uint64          `cbor:"1,keyasint"`
	Epoch     uint64          `cbor:"2,keyasint"` // raised by every publish of a collector
	Runs      []RunName       `cbor:"3,keyasint"` // sorted
	Condemned []CondemnedPack `cbor:"4,keyasint"` // sorted: no new snapshot may use them
	Removed   []PackHash      `cbor:"5,keyasint"` // sorted: gone, though runs still list them
	Damaged   []PackHash      `cbor:"6,keyasint"` // sorted: verify found damage in them
	// Features, as in Config, that came to be needed since.
	Read  []string `cbor:"7,keyasint"`
	Write []string `cbor:"8,keyasint"`
	GC    []string `cbor:"9,keyasint"`
}

// A RunName is the session that wrote a run and the run's own random part; the
// object is runs/<session>/<run>.
type RunName struct {
	_       struct{} `cbor:",toarray"`
	Session SnapshotID
	Run     RunID
}

// Object is the name of the run's object.
func (n RunName) Object() string { return "runs/" + n.Session.String() + "/" + n.Run.String() }

// Compare orders names as a head does.
func (n RunName) Compare(o RunName) int {
	if c := bytes.Compare(n.Session[:], o.Session[:]); c != 0 {
		return c
	}
	return bytes.Compare(n.Run[:], o.Run[:])
}

// A CondemnedPack is a pack that is to be removed, and the epoch that said so.
type CondemnedPack struct {
	_     struct{} `cbor:",toarray"`
	Pack  PackHash
	Epoch uint64
}

// Encode makes the head object of that name.
func (h *Head) Encode(salt Salt, key KeyFunc, name string) []byte {
	return sealObject(headMagic, salt, key, name, marshal(h))
}

// DecodeHead reads the head object of that name.
func DecodeHead(key KeyFunc, name string, b []byte) (*Head, error) {
	body, err := openObject(headMagic, key, name, b)
	if err != nil {
		return nil, err
	}
	return decodeHeadBody(body)
}

func decodeHeadBody(b []byte) (*Head, error) {
	h := new(Head)
	if err := unmarshal(b, h); err != nil {
		return nil, err
	}
	if !ascending(h.Runs, RunName.Compare) ||
		!ascending(h.Condemned, func(a, b CondemnedPack) int { return bytes.Compare(a.Pack[:], b.Pack[:]) }) ||
		!ascending(h.Removed, PackHash.Compare) || !ascending(h.Damaged, PackHash.Compare) {
		return nil, damaged("a list of the head is not sorted")
	}
	return h, nil
}

// ascending tells whether s is sorted and holds nothing twice.
func ascending[T any](s []T, compare func(a, b T) int) bool {
	for i := 1; i < len(s); i++ {
		if compare(s[i-1], s[i]) >= 0 {
			return false
		}
	}
	return true
}

// HasOf tells whether the head names a run that the session wrote.
func (h *Head) HasOf(session SnapshotID) bool {
	i, _ := slices.BinarySearchFunc(h.Runs, RunName{Session: session}, RunName.Compare)
	return i < len(h.Runs) && h.Runs[i].Session == session
}

// Has tells whether the head names the run.
func (h *Head) Has(n RunName) bool {
	_, ok := slices.BinarySearchFunc(h.Runs, n, RunName.Compare)
	return ok
}

// CondemnedIn is the epoch that condemned a pack, or 0.
func (h *Head) CondemnedIn(p PackHash) uint64 {
	i, ok := slices.BinarySearchFunc(h.Condemned, p, func(c CondemnedPack, p PackHash) int { return c.Pack.Compare(p) })
	if !ok {
		return 0
	}
	return h.Condemned[i].Epoch
}
