package format

const policyMagic = "vfsplcy\x01"

// MaxPolicySize bounds a policy object, in bytes.
const MaxPolicySize = 256 << 10

// A Policy says which snapshots forget keeps. It is the object policy/<Seq>,
// made once and never overwritten; the one with the highest Seq is in force.
type Policy struct {
	Seq   uint64       `cbor:"1,keyasint"`
	Rules []PolicyRule `cbor:"2,keyasint"` // sorted by what they are for, each once
}

// A PolicyRule is the policy of a kind of source, of one source, or of all that
// have none of their own.
type PolicyRule struct {
	For     string   `cbor:"1,keyasint"` // "" all, "vm" a kind, "vm/win11" a source
	Last    uint64   `cbor:"2,keyasint"`
	Hourly  uint64   `cbor:"3,keyasint"`
	Daily   uint64   `cbor:"4,keyasint"`
	Weekly  uint64   `cbor:"5,keyasint"`
	Monthly uint64   `cbor:"6,keyasint"`
	Yearly  uint64   `cbor:"7,keyasint"`
	Within  int64    `cbor:"8,keyasint"` // seconds before the newest snapshot
	Tags    []string `cbor:"9,keyasint"` // sorted, each once
	// What status warns of: a newest snapshot that is older, and a pack that was
	// not read for longer; in seconds, 0 for no warning.
	MaxAge    int64 `cbor:"10,keyasint"`
	MaxUnread int64 `cbor:"11,keyasint"`
}

// Encode makes the policy object of that name.
func (p *Policy) Encode(salt Salt, key KeyFunc, name string) []byte {
	return sealObject(policyMagic, salt, key, name, marshal(p))
}

// DecodePolicy reads the policy object of that name.
func DecodePolicy(key KeyFunc, name string, b []byte) (*Policy, error) {
	body, err := openObject(policyMagic, key, name, b)
	if err != nil {
		return nil, err
	}
	p := new(Policy)
	return p, unmarshal(body, p)
}
