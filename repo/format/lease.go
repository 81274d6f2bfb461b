package format

const leaseMagic = "vfsleas\x01"

// LeaseKind is what the holder of a lease does.
type LeaseKind uint8

// The kinds of lease.
const (
	WriteLease LeaseKind = 1
	ReadLease  LeaseKind = 2
	GCLease    LeaseKind = 3
)

// A Lease tells the others that someone is at work, and what he relies on.
type Lease struct {
	Kind      LeaseKind    `cbor:"1,keyasint"`
	Epoch     uint64       `cbor:"2,keyasint"` // of the head when the lease was opened
	Snapshots []SnapshotID `cbor:"3,keyasint"` // that the holder reads or inherits from
	Host      string       `cbor:"4,keyasint"`
	PID       uint64       `cbor:"5,keyasint"`
	Since     int64        `cbor:"6,keyasint"` // Unix seconds
	Purpose   string       `cbor:"7,keyasint"` // "ingest vm/win11"
}

// Encode makes the lease object of that name.
func (l *Lease) Encode(salt Salt, key KeyFunc, name string) []byte {
	return sealObject(leaseMagic, salt, key, name, marshal(l))
}

// DecodeLease reads the lease object of that name.
func DecodeLease(key KeyFunc, name string, b []byte) (*Lease, error) {
	body, err := openObject(leaseMagic, key, name, b)
	if err != nil {
		return nil, err
	}
	return decodeLeaseBody(body)
}

func decodeLeaseBody(b []byte) (*Lease, error) {
	l := new(Lease)
	if err := unmarshal(b, l); err != nil {
		return nil, err
	}
	if l.Kind < WriteLease || l.Kind > GCLease {
		return nil, damaged("lease of kind %d", l.Kind)
	}
	return l, nil
}
