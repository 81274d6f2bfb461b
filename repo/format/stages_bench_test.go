package format

import (
	"math/rand/v2"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo/seal"
)

const benchChunk = 128 << 10

// benchTexts are chunks that compress to about 0.4, as those of real guests do:
// words that come often beside ones that come seldom, and noise amid.
func benchTexts(n int) [][]byte {
	rng := rand.New(rand.NewPCG(1, 1))
	words := make([][]byte, 1000)
	for i := range words {
		words[i] = benchNoise(rng, 2+rng.IntN(10))
	}
	chunks := make([][]byte, n)
	for i := range chunks {
		for len(chunks[i]) < benchChunk {
			if rng.IntN(60) == 0 {
				chunks[i] = append(chunks[i], benchNoise(rng, 64)...)
				continue
			}
			f := rng.Float64()
			chunks[i] = append(chunks[i], words[int(f*f*f*float64(len(words)))]...)
		}
		chunks[i] = chunks[i][:benchChunk]
	}
	return chunks
}

func benchNoise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// benchKinds calls f for chunks that compress and for some that do not.
func benchKinds(b *testing.B, f func(b *testing.B, chunks [][]byte)) {
	b.Run("text", func(b *testing.B) { f(b, benchTexts(32)) })
	b.Run("noise", func(b *testing.B) {
		rng := rand.New(rand.NewPCG(2, 2))
		chunks := make([][]byte, 32)
		for i := range chunks {
			chunks[i] = benchNoise(rng, benchChunk)
		}
		f(b, chunks)
	})
}

func BenchmarkPayload(b *testing.B) {
	benchKinds(b, func(b *testing.B, chunks [][]byte) {
		b.SetBytes(benchChunk)
		b.ReportAllocs()
		var buf []byte
		for i := 0; b.Loop(); i++ {
			buf = Payload(buf[:0], chunks[i%len(chunks)])
		}
		b.ReportMetric(float64(len(buf))/benchChunk, "stored/plain")
	})
}

func BenchmarkOpenPayload(b *testing.B) {
	benchKinds(b, func(b *testing.B, chunks [][]byte) {
		var payloads [][]byte
		for _, c := range chunks {
			payloads = append(payloads, Payload(nil, c))
		}
		plain := make([]byte, 0, benchChunk)
		b.SetBytes(benchChunk)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := OpenPayload(plain, payloads[i%len(payloads)], benchChunk); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchPack makes a pack of payloads of 50,000 bytes, as a disk's are on average.
func benchPack(b *testing.B, box *seal.Box, payload, buf []byte) []byte {
	p := NewPack(PackHeader{Kind: DataPack}, box, buf)
	id := chunk.ID{1}
	for p.Size() < 16<<20 {
		id[31]++
		p.Add(Data, id, benchChunk, payload)
	}
	pack, err := p.Finish(make([]byte, seal.SealedSecretSize))
	if err != nil {
		b.Fatal(err)
	}
	return pack
}

// BenchmarkPack seals payloads into a pack in memory; bytes are those of the pack.
func BenchmarkPack(b *testing.B) {
	box, payload := seal.NewBox(seal.Key{1}), benchNoise(rand.New(rand.NewPCG(3, 3)), 50_000)
	buf := make([]byte, 0, 18<<20)
	b.SetBytes(int64(len(benchPack(b, box, payload, buf))))
	b.ReportAllocs()
	for b.Loop() {
		benchPack(b, box, payload, buf)
	}
}

// BenchmarkDecodePack reads the footer of such a pack.
func BenchmarkDecodePack(b *testing.B) {
	box, payload := seal.NewBox(seal.Key{1}), benchNoise(rand.New(rand.NewPCG(3, 3)), 50_000)
	pack := benchPack(b, box, payload, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodePack(pack, func(PackHeader, []byte) (*seal.Box, error) { return box, nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSegmentMap encodes and decodes the map of a full segment of 64 MiB.
func BenchmarkSegmentMap(b *testing.B) {
	const size = 64 << 20
	rng := rand.New(rand.NewPCG(4, 4))
	var m SegmentMap
	for off := int64(0); off < size; off += benchChunk {
		m = append(m, Extent{Off: off, Len: benchChunk, ID: chunk.ID(benchNoise(rng, 32))})
	}
	encoded := m.Encode()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Encode()
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeSegmentMap(encoded, size); err != nil {
				b.Fatal(err)
			}
		}
	})
}
