package qcow2

import "math/bits"

const wordBits = 64

// isSet reports whether bit i is set.
func isSet(bitmap []uint64, i int64) bool {
	return bitmap[i/wordBits]>>(i%wordBits)&1 == 1
}

// nthOne finds the set bit that has n set bits before it. There must be one.
func nthOne(bitmap []uint64, n int64) int64 {
	i := 0
	for {
		inWord := int64(bits.OnesCount64(bitmap[i]))
		if n < inWord {
			break
		}
		n -= inWord
		i++
	}
	word := bitmap[i]
	for ; n > 0; n-- {
		word &= word - 1
	}
	return int64(i)*wordBits + int64(bits.TrailingZeros64(word))
}

// runOfOnes counts the consecutive set bits from bit start on, up to limit.
func runOfOnes(bitmap []uint64, start, limit int64) int64 {
	n := int64(0)
	for i := start / wordBits; n < limit && i < int64(len(bitmap)); i++ {
		skip := (start + n) % wordBits
		run := int64(bits.TrailingZeros64(^(bitmap[i] >> skip)))
		n += run
		if run < wordBits-skip {
			break
		}
	}
	return min(n, limit)
}
