package format

const markMagic = "vfsmark\x01"

// MaxMarkSize bounds the mark of a forgotten snapshot, in bytes.
const MaxMarkSize = 64 << 10

// A Mark says that a snapshot is to be removed. It is the object
// forgotten/<snapshot ID>. It stays when the snapshot's manifest is gone, as
// long as another manifest names that snapshot as the one before it; and longer
// if it names an archive.
type Mark struct {
	Snapshot SnapshotID `cbor:"1,keyasint"`
	Source   string     `cbor:"2,keyasint"`
	Time     int64      `cbor:"3,keyasint"` // when it was forgotten, Unix seconds
	Host     string     `cbor:"4,keyasint"` // where that was
	Reason   string     `cbor:"5,keyasint"` // "policy", "by name"
	// Archive is what the snapshot was made from, where that was an archive: the
	// checkpoint of one of its files.
	Archive string `cbor:"6,keyasint,omitempty"`
}

// Encode makes the mark object of that name.
func (m *Mark) Encode(salt Salt, key KeyFunc, name string) []byte {
	return sealObject(markMagic, salt, key, name, marshal(m))
}

// DecodeMark reads the mark object of that name.
func DecodeMark(key KeyFunc, name string, b []byte) (*Mark, error) {
	body, err := openObject(markMagic, key, name, b)
	if err != nil {
		return nil, err
	}
	return decodeMarkBody(body)
}

func decodeMarkBody(b []byte) (*Mark, error) {
	m := new(Mark)
	if err := unmarshal(b, m); err != nil {
		return nil, err
	}
	if m.Snapshot.IsZero() || m.Source == "" {
		return nil, damaged("mark of snapshot %v of %q", m.Snapshot, m.Source)
	}
	return m, nil
}
