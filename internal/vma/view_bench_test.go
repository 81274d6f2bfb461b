package vma

import (
	"io"
	"math/rand/v2"
	"testing"

	"vaultfs/internal/bitset"
)

// pattern is a Source of any size whose content costs nothing: of each eight
// grains so many hold data, or none at all.
type pattern struct {
	size   int64
	word   uint64
	bitmap []uint64
}

func newPattern(size int64, word uint64) *pattern {
	p := &pattern{size, word, make([]uint64, testSegment/blockSize/wordBits)}
	for i := range p.bitmap {
		p.bitmap[i] = word
	}
	return p
}

func (p *pattern) Size() int64                           { return p.size }
func (p *pattern) SegmentSize() int64                    { return testSegment }
func (p *pattern) Grains(int) uint32                     { return uint32(bitset.Ones(p.bitmap)) }
func (p *pattern) GrainBitmap(int) ([]uint64, error)     { return p.bitmap, nil }
func (p *pattern) ReadAt(b []byte, _ int64) (int, error) { return len(b), nil }

// What the view itself costs: the source gives its bytes for nothing.
func BenchmarkView(b *testing.B) {
	for name, word := range map[string]uint64{
		"full": ^uint64(0), "half": 0x0000ffff0000ffff, "scattered": 0x5555555555555555, "zeros": 0,
	} {
		p := newPattern(tib, word)
		v, err := NewView(&Header{Drives: []Drive{{1, "drive-scsi0", p.size}}}, []Source{p})
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 128*kib) // as the kernel asks
		b.Run(name+"/sequential", func(b *testing.B) {
			b.SetBytes(int64(len(buf)))
			off := int64(0)
			for b.Loop() {
				if _, err := v.ReadAt(buf, off%(v.Size()-int64(len(buf)))); err != nil && err != io.EOF {
					b.Fatal(err)
				}
				off += int64(len(buf))
			}
		})
		b.Run(name+"/random4k", func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				if _, err := v.ReadAt(buf[:4096], rng.Int64N(v.Size()-4096)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
