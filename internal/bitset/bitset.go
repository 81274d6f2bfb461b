// Package bitset counts in sets of numbered things that are kept as bits, the
// lowest of the first word being number 0.
package bitset

import "math/bits"

// WordBits is how many bits a word of a bitmap has.
const WordBits = 64

// Ones counts the bits set.
func Ones(bitmap []uint64) int64 {
	n := 0
	for _, word := range bitmap {
		n += bits.OnesCount64(word)
	}
	return int64(n)
}

// OnesBefore counts the bits set below bit end. A nil bitmap has none.
func OnesBefore(bitmap []uint64, end int64) int64 {
	if bitmap == nil {
		return 0
	}
	whole := end / WordBits
	n := Ones(bitmap[:whole])
	if rest := end % WordBits; rest != 0 {
		n += int64(bits.OnesCount64(bitmap[whole] & (1<<rest - 1)))
	}
	return n
}
