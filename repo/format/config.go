package format

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/zeebo/blake3"
	"vaultfs/chunk"
)

const configMagic = "vfsconf\x01"

// MaxConfigSize bounds the config object, in bytes.
const MaxConfigSize = 4096

// Segment sizes that a repository may have, in bytes: powers of two.
const (
	MinSegmentSize = 1 << 20
	MaxSegmentSize = 256 << 20
)

// A Config is what init decides for ever. It is stored in clear:
//
//	magic 8 | CBOR | BLAKE3-256 of what stands before 32
//
// Every key slot holds the config's hash, and only that is believed.
type Config struct {
	Repo        [32]byte `cbor:"1,keyasint"` // random, names the repository
	SegmentSize uint64   `cbor:"2,keyasint"` // of disks, bytes
	Encrypted   bool     `cbor:"3,keyasint"` // false: the slot is in clear
	// Feature flags: a binary that does not know one refuses the operation.
	Read  []string `cbor:"4,keyasint"`
	Write []string `cbor:"5,keyasint"`
	GC    []string `cbor:"6,keyasint"`
}

func validSegmentSize(n uint64) bool {
	return n >= MinSegmentSize && n <= MaxSegmentSize && n&(n-1) == 0
}

// Encode makes the config object.
func (c *Config) Encode() []byte {
	b := append([]byte(configMagic), marshal(c)...)
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

// DecodeConfig reads the config object.
func DecodeConfig(b []byte) (*Config, error) {
	if len(b) < magicSize+32 || len(b) > MaxConfigSize {
		return nil, damaged("config of %d bytes", len(b))
	}
	body, sum := b[:len(b)-32], b[len(b)-32:]
	if got := blake3.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, damaged("its checksum does not fit")
	}
	if err := checkMagic(configMagic, body); err != nil {
		return nil, err
	}
	c := new(Config)
	if err := unmarshal(body[magicSize:], c); err != nil {
		return nil, err
	}
	if !validSegmentSize(c.SegmentSize) || c.SegmentSize%chunk.DiskMax != 0 {
		return nil, damaged("segments of %d bytes", c.SegmentSize)
	}
	return c, nil
}

// CheckFeatures gives ErrNewer when flags holds one that this binary does not
// know. No flag is known to version 1.
func CheckFeatures(operation string, flags []string, known ...string) error {
	for _, f := range flags {
		if !slices.Contains(known, f) {
			return fmt.Errorf("%s needs the feature %q: %w", operation, f, ErrNewer)
		}
	}
	return nil
}
