package format

import (
	"bytes"
	"errors"

	"github.com/fxamacker/cbor/v2"
)

// Small structures are CBOR in the core deterministic encoding (RFC 8949,
// section 4.2.1).
var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 20,
		MaxMapPairs:       1 << 16,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil { // options are constants
		panic(err)
	}
	return v
}

func marshal(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil { // every structure here is made of encodable types
		panic(err)
	}
	return b
}

// unmarshal accepts only the canonical encoding of v.
func unmarshal(b []byte, v any) error {
	err := decMode.Unmarshal(b, v)
	if unknown := (*cbor.UnknownFieldError)(nil); errors.As(err, &unknown) {
		return ErrNewer // the seal or the checksum fits: somebody wrote this
	}
	if err != nil {
		return damaged("%v", err)
	}
	if !bytes.Equal(marshal(v), b) {
		return damaged("not in canonical form")
	}
	return nil
}
