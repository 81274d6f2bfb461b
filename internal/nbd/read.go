package nbd

import (
	"context"
	"fmt"
)

// ReadAt fills p from the export's byte off on. It splits what is longer than the server takes, and widens what is
// not aligned to the server's blocks. On an error p holds anything; once ReadAt has returned, also because ctx is
// over, p is not written to. The server's refusal is an *Error.
func (c *Client) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := c.readAt(ctx, p, off); err != nil {
		return fmt.Errorf("%s: read %d bytes at %d: %w", c.name, len(p), off, err)
	}
	return nil
}

func (c *Client) readAt(ctx context.Context, p []byte, off int64) error {
	if err := c.checkRange(off, int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		n, err := c.readPart(ctx, p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// readPart reads the first bytes of p: as many whole blocks as one request takes, or what p has of a single block.
func (c *Client) readPart(ctx context.Context, p []byte, off int64) (int, error) {
	block := int(c.export.minBlock)
	skip := int(off % int64(block))
	if skip == 0 && len(p) >= block {
		n := min(len(p)-len(p)%block, int(c.export.maxBlock))
		return n, c.do(ctx, &request{command: cmdRead, offset: uint64(off), length: uint32(n), buf: p[:n]})
	}
	whole := make([]byte, block)
	err := c.do(ctx, &request{command: cmdRead, offset: uint64(off) - uint64(skip), length: uint32(block), buf: whole})
	return copy(p, whole[skip:]), err
}
