package measure

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"

	"vaultfs/chunk"
	"vaultfs/ingest"
)

// A Generated is a disk of any size whose content is made when it is read: it
// takes no room. It is full: it has no holes and no zero grains.
//
// It consists of extents, as files are. A share of these repeats an earlier one;
// in all others no grain is like another. A share of the grains of an extent
// compresses as text does, to somewhat more than a third; the rest is noise.
type Generated struct {
	size         int64
	duplicates   uint64 // of 2^32
	compressible uint64
	seed         uint64
	tables
}

const (
	extent    = 4 << 20 // bytes
	tableSize = 4 << 20 // of words, and of noise

	kindGrains = 64 // in a row are of words or of noise, as the parts of a file are
)

// NewGenerated makes a disk with the given shares, from 0 to 1. Equal seeds make
// equal disks.
func NewGenerated(size int64, duplicates, compressible float64, seed uint64) *Generated {
	return &Generated{size: size, duplicates: uint64(duplicates * (1 << 32)), compressible: uint64(compressible * (1 << 32)), seed: seed, tables: makeTables()}
}

// tables are what grains are stretches of.
type tables struct{ words, noise []byte }

// makeTables makes them once: where a grain is taken from differs from disk to
// disk.
var makeTables = sync.OnceValue(func() tables {
	rng := rand.New(rand.NewPCG(1, 1))
	return tables{words: words(rng, tableSize+chunk.Grain), noise: noise(rng, tableSize+chunk.Grain)}
})

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b[:n]
}

// words is text of a vocabulary of 1,024 words, the first ones more often, with
// numbers in between.
func words(rng *rand.Rand, n int) []byte {
	vocabulary := make([][]byte, 1024)
	for i := range vocabulary {
		word := make([]byte, 2+rng.IntN(9))
		for j := range word {
			word[j] = "etaoinshrdlucmfwypvbgkjqxz_./0\x00\x01"[rng.IntN(32)]
		}
		vocabulary[i] = append(word, ' ')
	}
	b := make([]byte, 0, n+16)
	for len(b) < n {
		if rng.IntN(40) == 0 {
			b = binary.LittleEndian.AppendUint32(b, rng.Uint32())
			continue
		}
		f := math.Pow(rng.Float64(), 4)
		b = append(b, vocabulary[int(f*float64(len(vocabulary)))]...)
	}
	return b[:n]
}

// Size implements ingest.Image.
func (g *Generated) Size() int64 { return g.size }

// Data implements ingest.Image: everything is data.
func (g *Generated) Data(_ context.Context, off, n int64) ([]ingest.Run, error) {
	return []ingest.Run{{Off: off, Len: n}}, nil
}

// ReadAt implements ingest.Image.
func (g *Generated) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var whole [chunk.Grain]byte
	for len(p) > 0 {
		begin := off % chunk.Grain
		n := int(min(chunk.Grain-begin, int64(len(p))))
		if n == chunk.Grain {
			g.grain(p[:n], uint64(off)/chunk.Grain)
		} else {
			g.grain(whole[:], uint64(off)/chunk.Grain)
			copy(p[:n], whole[begin:])
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// grain makes a grain of the disk: a stretch of a table, and a number of its own.
func (g *Generated) grain(p []byte, number uint64) {
	const grains = extent / chunk.Grain
	number = g.first(number/grains)*grains + number%grains
	h := mix(number ^ g.seed)
	from := g.noise
	if mix(number/kindGrains*3^g.seed)>>32 < g.compressible {
		from = g.words
	}
	copy(p, from[h%tableSize:])
	binary.LittleEndian.PutUint64(p[h>>32%(chunk.Grain-8):], h|1)
}

// first is the extent that holds what an extent repeats: itself, if it does not
// repeat one.
func (g *Generated) first(extent uint64) uint64 {
	for {
		h := mix(^extent ^ g.seed)
		if extent == 0 || h>>32 >= g.duplicates {
			return extent
		}
		extent = mix(h) % extent
	}
}

// mix is the finalizer of splitmix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
