package disk

import (
	"context"
	"fmt"

	"vaultfs/ingest"
	"vaultfs/internal/nbd"
)

// A Chain is the disk of an image and its backing files. What lies in the files
// as it is, in raw and qcow2 images, is read from there; the rest goes through
// qemu-nbd, which is started when it is first needed. It is an ingest.Image.
type Chain struct {
	layers []layer // top first
	bytes  int64
	served *served
	files  []*file // that Close closes
}

// newChain makes the disk of layers. QEMU tells the size of one that it alone
// reads, and is asked at once whether it takes what is odd.
func newChain(layers []layer, s *served) (*Chain, error) {
	c := &Chain{layers: layers, served: s}
	for i, l := range layers {
		if l != (foreign{}) {
			continue
		}
		client, err := s.start()
		if err != nil {
			return nil, err
		}
		if i == 0 {
			c.bytes = client.Size()
			return c, nil
		}
	}
	c.bytes = layers[0].size()
	return c, nil
}

// Size is the size of the disk in bytes.
func (c *Chain) Size() int64 { return c.bytes }

// ReadAt fills p with the disk's bytes from off on. Any number of goroutines may
// read at once, and none waits for another.
func (c *Chain) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off > c.bytes || int64(len(p)) > c.bytes-off {
		return fmt.Errorf("%d bytes at %d lie outside the disk of %d bytes", len(p), off, c.bytes)
	}
	if err := ctx.Err(); err != nil || len(p) == 0 {
		return err
	}
	return c.parts(0, off, int64(len(p)), func(q part) error {
		piece := p[q.off-off:][:q.n]
		switch q.place {
		case zeros:
			clear(piece)
			return nil
		case inFile:
			return q.file.fill(piece, q.at)
		}
		return c.served.ReadAt(ctx, piece, q.off)
	})
}

// Data returns the runs of [off, off+n) that may hold other than zeros.
func (c *Chain) Data(ctx context.Context, off, n int64) (runs []ingest.Run, err error) {
	if n = min(n, c.bytes-off); off < 0 || n <= 0 {
		return nil, nil
	}
	add := func(r ingest.Run) {
		if k := len(runs) - 1; k >= 0 && runs[k].Off+runs[k].Len == r.Off {
			runs[k].Len += r.Len
		} else {
			runs = append(runs, r)
		}
	}
	err = c.parts(0, off, n, func(q part) error {
		switch q.place {
		case packed:
			add(ingest.Run{Off: q.off, Len: q.n})
		case inFile:
			q.file.data(q.at, q.at+q.n, func(from, to int64) {
				add(ingest.Run{Off: q.off + from - q.at, Len: to - from})
			})
		case unclear:
			told, err := c.served.Data(ctx, q.off, q.n)
			if err != nil {
				return err
			}
			for _, r := range told {
				add(r)
			}
		}
		return ctx.Err()
	})
	return runs, err
}

// parts calls visit for the parts of [off, off+n) as the layers from i on have
// them. What none of them has, or lies behind the end of one, is zeros.
func (c *Chain) parts(i int, off, n int64, visit func(part) error) error {
	if i == len(c.layers) {
		return visit(part{off: off, n: n, place: zeros})
	}
	inside := max(min(n, c.layers[i].size()-off), 0)
	if inside > 0 {
		err := c.layers[i].parts(off, inside, func(p part) error {
			if p.place != below {
				return visit(p)
			}
			return c.parts(i+1, p.off, p.n, visit)
		})
		if err != nil {
			return err
		}
	}
	if inside == n {
		return nil
	}
	return visit(part{off: off + inside, n: n - inside, place: zeros})
}

// Served is the connection to qemu-nbd, which is started for it if it was not
// needed yet: for block status that the images alone do not tell.
func (c *Chain) Served() (*nbd.Client, error) { return c.served.start() }
