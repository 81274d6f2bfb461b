package seal

import (
	"bytes"
	"errors"

	"github.com/fxamacker/cbor/v2"
)

// The one CBOR dialect of this package: RFC 8949 section 4.2.1 (core
// deterministic), no tags, no indefinite lengths, integer map keys.
var encMode, decMode = cborModes()

func cborModes() (cbor.EncMode, cbor.DecMode) {
	e := cbor.CoreDetEncOptions()
	e.TagsMd = cbor.TagsForbidden
	enc, err := e.EncMode()
	if err != nil {
		panic("seal: " + err.Error()) // options are constant
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  MaxIdentities,
		MaxMapPairs:       16,
		MaxNestedLevels:   4,
	}.DecMode()
	if err != nil {
		panic("seal: " + err.Error())
	}
	return enc, dec
}

var errNotCanonical = errors.New("not canonical CBOR")

// encodeCanonical cannot fail: it is given this package's own wire structs.
func encodeCanonical(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic("seal: encode: " + err.Error())
	}
	return b
}

// decodeCanonical decodes b into v and accepts only the bytes that encode to b
// again, which also refuses missing fields and wrong lengths of fixed arrays.
// The library's own error is dropped: it may quote what it decoded.
func decodeCanonical(b []byte, v any) error {
	if decMode.Unmarshal(b, v) != nil {
		return errNotCanonical
	}
	again := encodeCanonical(v)
	defer clear(again)
	if !bytes.Equal(again, b) {
		return errNotCanonical
	}
	return nil
}
