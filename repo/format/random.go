package format

// sampleSize is how many bytes of a chunk looksRandom looks at.
const sampleSize = 4096

// maxRepeats bounds how often two bytes of a sample are equal, in ordered pairs, when
// the chunk is taken for random. Of random bytes it is sampleSize²/256 + sampleSize,
// give or take 360.
const maxRepeats = sampleSize*sampleSize/256 + sampleSize + 3000

// looksRandom tells whether bytes spread over a chunk are as evenly distributed
// as random ones, so that compressing it would be in vain. libzstd takes 500 to 1,000 MB/s
// to find that out, this 5,000. One in seven bytes of three real guests' disks is such;
// what is wrongly taken for random makes them 1 in 4,500 larger as they are stored.
func looksRandom(plain []byte) bool {
	step := len(plain) / sampleSize
	if step == 0 {
		return false
	}
	var count [256]uint32
	at := 0 // in its step, another place each time: else all may be the same byte of their numbers
	for i := range sampleSize {
		count[plain[i*step+at]]++
		if at++; at == step {
			at = 0
		}
	}
	repeats := uint32(0)
	for _, n := range count {
		repeats += n * n
	}
	return repeats < maxRepeats
}
