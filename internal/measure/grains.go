package measure

import (
	"bytes"
	"hash/maphash"

	"vaultfs/chunk"
)

var zeroGrain [chunk.Grain]byte

func isZero(grain []byte) bool { return grain[0] == 0 && bytes.Equal(grain, zeroGrain[:]) }

// sums fills s with the sums of the grains of p, 0 for zero grains, and returns
// how many those are. Sums are 64 bits under a random key: of the 10^8 grains of
// 400 GB two that differ are taken for equal once in 3,000 times.
func sums(seed maphash.Seed, s []uint64, p []byte) (zeros int64) {
	for i := range s {
		grain := p[i*chunk.Grain : (i+1)*chunk.Grain]
		if isZero(grain) {
			s[i] = 0
			zeros++
			continue
		}
		s[i] = max(maphash.Bytes(seed, grain), 1)
	}
	return zeros
}
