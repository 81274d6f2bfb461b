package format

import (
	"fmt"
	"strings"
)

const policyMagic = "vfsplcy\x01"

// MaxPolicySize bounds a policy object, in bytes.
const MaxPolicySize = 1 << 20

// Bounds of a policy.
const (
	MaxRules    = 1024
	MaxRuleFor  = 512     // bytes
	MaxKept     = 1 << 32 // of a count
	MaxDuration = 1 << 35 // seconds, about 1,000 years
)

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

// KeepsNothing tells whether there is nothing that the rule keeps.
func (r *PolicyRule) KeepsNothing() bool {
	return r.Last|r.Hourly|r.Daily|r.Weekly|r.Monthly|r.Yearly == 0 && r.Within == 0 && len(r.Tags) == 0
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
	return decodePolicyBody(body)
}

func decodePolicyBody(b []byte) (*Policy, error) {
	p := new(Policy)
	if err := unmarshal(b, p); err != nil {
		return nil, err
	}
	if err := p.Check(); err != nil {
		return nil, damaged("%v", err)
	}
	return p, nil
}

// Check says what is wrong with a policy.
func (p *Policy) Check() error {
	if len(p.Rules) > MaxRules {
		return fmt.Errorf("there are %d rules, at most %d are allowed", len(p.Rules), MaxRules)
	}
	for i := range p.Rules {
		if err := p.Rules[i].check(); err != nil {
			return err
		}
	}
	if !ascending(p.Rules, func(a, b PolicyRule) int { return strings.Compare(a.For, b.For) }) {
		return fmt.Errorf("the rules are not sorted, or there are two for one kind or source")
	}
	return nil
}

func (r *PolicyRule) check() error {
	if len(r.For) > MaxRuleFor {
		return fmt.Errorf("rule for %.40q…: a name of %d bytes, at most %d are allowed", r.For, len(r.For), MaxRuleFor)
	}
	for _, n := range []uint64{r.Last, r.Hourly, r.Daily, r.Weekly, r.Monthly, r.Yearly} {
		if n > MaxKept {
			return fmt.Errorf("rule for %q: %d is too large a number", r.For, n)
		}
	}
	for _, d := range []int64{r.Within, r.MaxAge, r.MaxUnread} {
		if d < 0 || d > MaxDuration {
			return fmt.Errorf("rule for %q: %d seconds are no duration to keep to", r.For, d)
		}
	}
	if err := CheckTags(r.Tags); err != nil {
		return fmt.Errorf("rule for %q: %w", r.For, err)
	}
	return nil
}
