package seal

import "math/bits"

// Padme returns the padded length of n bytes under PADMÉ: at most 12 % more
// than n, and so few distinct values that a length leaks O(log log n) bits.
// Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
// Communication with PURBs", PETS 2019, algorithm 1.
func Padme(n int) int {
	if n < 2 {
		return n
	}
	exponent := bits.Len(uint(n)) - 1
	mantissa := bits.Len(uint(exponent)) // bits of n that are kept
	mask := 1<<(exponent-mantissa) - 1
	return (n + mask) &^ mask
}
