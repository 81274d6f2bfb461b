package disk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
)

const benchDisk = 256 << 20

// benchImage is an image of a full disk, made by qemu-img convert with the
// arguments.
func benchImage(b *testing.B, name string, args ...string) *Chain {
	b.Chdir(b.TempDir())
	disk := make([]byte, benchDisk)
	for i := 0; i < len(disk); i += 1 << 20 {
		noise(byte(i>>20), disk[i:i+1<<20])
		for k := i; k < i+1<<19; k += 2 { // half of it can be compressed
			disk[k] = 'x'
		}
	}
	write(b, "source", disk)
	run(b, "qemu-img", append(append([]string{"convert", "-f", "raw"}, args...), "source", name)...)
	return opened(b, name, Options{}).content
}

// shuffled writes the clusters of a disk in any order.
func shuffled(b *testing.B) *Chain {
	b.Chdir(b.TempDir())
	create(b, "shuffled.qcow2", "qcow2", fmt.Sprint(benchDisk))
	var commands []string
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(benchDisk >> 16) {
		commands = append(commands, fmt.Sprintf("write -P %d %d 64k", 1+i%255, i<<16))
	}
	qemuIO(b, "qcow2", "shuffled.qcow2", commands...)
	return opened(b, "shuffled.qcow2", Options{}).content
}

// BenchmarkImage reads a whole image in windows of 2 MiB: through the Chain, and
// as qemu-nbd serves it (whose own time is not in ours).
func BenchmarkImage(b *testing.B) {
	for name, open := range map[string]func(*testing.B) *Chain{
		"raw":        func(b *testing.B) *Chain { return benchImage(b, "a.raw", "-O", "raw") },
		"qcow2":      func(b *testing.B) *Chain { return benchImage(b, "a.qcow2", "-O", "qcow2") },
		"shuffled":   shuffled,
		"c512":       func(b *testing.B) *Chain { return benchImage(b, "a.qcow2", "-O", "qcow2", "-o", "cluster_size=512") },
		"compressed": func(b *testing.B) *Chain { return benchImage(b, "a.qcow2", "-c", "-O", "qcow2") },
	} {
		b.Run(name, func(b *testing.B) {
			c := open(b)
			if _, err := c.Served(); err != nil { // so that its start is not measured
				b.Fatal(err)
			}
			p := make([]byte, 2<<20)
			for reader, image := range map[string]interface {
				ReadAt(ctx context.Context, p []byte, off int64) error
			}{"direct": c, "served": c.served} {
				b.Run(reader, func(b *testing.B) {
					b.SetBytes(benchDisk)
					b.ReportAllocs()
					for b.Loop() {
						for off := int64(0); off < benchDisk; off += int64(len(p)) {
							if err := image.ReadAt(b.Context(), p, off); err != nil {
								b.Fatal(err)
							}
						}
					}
				})
			}
			b.Run("data", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Data(b.Context(), 0, benchDisk); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
