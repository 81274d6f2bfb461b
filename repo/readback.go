package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// readBack reads a pack from the medium and proves that every chunk in it is
// what its entry says. Nothing but the medium has the bytes.
func (r *Repo) readBack(ctx context.Context, name string, p *writtenPack) error {
	o, err := r.store.OpenCold(ctx, name)
	if err != nil {
		return err
	}
	defer o.Close()
	if o.Size() != int64(p.size) {
		return fmt.Errorf("%w: %d bytes, want %d", ErrDamaged, o.Size(), p.size)
	}
	entries, err := r.checkPackAt(p.hash, o, o.Size())
	if err != nil {
		return err
	}
	if !slices.Equal(entries, p.entries) {
		return fmt.Errorf("%w: its footer does not list what was written", ErrDamaged)
	}
	return nil
}

// checkPack is checkPackAt for a pack that is in memory.
func (r *Repo) checkPack(hash format.PackHash, b []byte) ([]format.PackEntry, error) {
	return r.checkPackAt(hash, bytes.NewReader(b), int64(len(b)))
}

// checkPackAt proves a whole pack: its bytes have its name, its footer decodes,
// and every chunk in it decodes to bytes that have the chunk's ID. The pack is read
// in pieces, once and in order, after its footer.
func (r *Repo) checkPackAt(hash format.PackHash, at io.ReaderAt, size int64) ([]format.PackEntry, error) {
	if size > format.MaxPackSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, size)
	}
	c := packChecks.Get().(*packCheck)
	defer func() {
		c.repo, c.at = nil, nil
		packChecks.Put(c)
	}()
	c.repo, c.at, c.size, c.done = r, at, size, 0
	c.hash.Reset()
	entries, bad := c.chunks()
	for c.done < size {
		if _, err := c.next(min(size-c.done, int64(packPiece))); err != nil {
			return nil, err
		}
	}
	if c.hash.Sum(c.sum[:0]); c.sum != hash { // which says more than what is wrong inside
		return nil, fmt.Errorf("%w: its bytes do not have its name's hash", ErrDamaged)
	}
	if bad != nil {
		return nil, bad
	}
	return entries, nil
}

// A packCheck goes through a pack.
type packCheck struct {
	repo *Repo
	at   io.ReaderAt
	size int64
	done int64 // bytes that were hashed
	hash *blake3.Hasher
	sum  format.PackHash

	piece, plain []byte
}

var packChecks = sync.Pool{New: func() any { return &packCheck{hash: blake3.New()} }}

// next reads and hashes the next bytes.
func (c *packCheck) next(n int64) ([]byte, error) {
	if int64(cap(c.piece)) < n {
		c.piece = make([]byte, max(n, int64(packPiece)))
	}
	b := c.piece[:n]
	if err := c.readAt(b, c.done); err != nil {
		return nil, err
	}
	c.hash.Write(b)
	c.done += n
	return b, nil
}

// readAt fills b.
func (c *packCheck) readAt(b []byte, off int64) error {
	if n, err := c.at.ReadAt(b, off); n < len(b) {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: cut off", ErrDamaged)
		}
		return err
	}
	return nil
}

// chunks proves the chunks, and returns what the footer says.
func (c *packCheck) chunks() ([]format.PackEntry, error) {
	pack, err := c.footer()
	if err != nil {
		return nil, err
	}
	box, err := c.repo.packBox(pack.Header, pack.SealedSecret)
	if err != nil {
		return nil, err
	}
	if _, err := c.next(format.PackHeaderSize); err != nil {
		return nil, err
	}
	for i := 0; i < len(pack.Entries); {
		n := inPiece(pack.Entries[i:])
		if err := c.open(pack.Header.Kind, box, uint64(i), pack.Entries[i:i+n]); err != nil {
			return nil, err
		}
		i += n
	}
	return pack.Entries, nil
}

// footer reads header and footer.
func (c *packCheck) footer() (*format.Pack, error) {
	if c.size < format.PackHeaderSize+format.PackTailSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, c.size)
	}
	head, tail := make([]byte, format.PackHeaderSize), make([]byte, format.PackTailSize)
	if err := c.readAt(head, 0); err != nil {
		return nil, err
	}
	h, err := format.DecodePackHeader(head)
	if err != nil {
		return nil, err
	}
	if err := c.readAt(tail, c.size-int64(len(tail))); err != nil {
		return nil, err
	}
	n, err := format.PackRegion(h, c.size, tail)
	if err != nil {
		return nil, err
	}
	region := make([]byte, n)
	if err := c.readAt(region, c.size-n); err != nil {
		return nil, err
	}
	return format.DecodePackFooter(h, c.size, region, c.repo.packBox)
}

// inPiece is how many of the chunks are read at once: one at least.
func inPiece(entries []format.PackEntry) (n int) {
	bytes := 0
	for ; n < len(entries); n++ {
		if bytes += int(entries[n].Sealed); bytes > packPiece && n > 0 {
			break
		}
	}
	return n
}

// open reads the chunks that come next, and proves them.
func (c *packCheck) open(kind format.PackKind, box *seal.Box, ordinal uint64, entries []format.PackEntry) error {
	first, last := entries[0], entries[len(entries)-1]
	b, err := c.next(int64(last.Offset) + int64(last.Sealed) - int64(first.Offset))
	if err != nil {
		return err
	}
	for i, e := range entries {
		if format.PackFor(e.Kind) != kind {
			return fmt.Errorf("%w: chunk %v: a %v in a pack of kind %d", ErrDamaged, e.ID, e.Kind, kind)
		}
		sealed := b[e.Offset-first.Offset:][:e.Sealed]
		if c.plain, err = c.repo.openChunk(c.plain, box, ordinal+uint64(i), e, sealed); err != nil {
			return fmt.Errorf("chunk %v: %w", e.ID, err)
		}
	}
	return nil
}

// openChunk opens a sealed chunk and compares its ID. It overwrites sealed.
func (r *Repo) openChunk(dst []byte, box *seal.Box, ordinal uint64, e format.PackEntry, sealed []byte) ([]byte, error) {
	plain, err := format.OpenChunk(dst, box, ordinal, e, sealed)
	if err != nil {
		return nil, err
	}
	if r.name(e.Kind, plain) != e.ID {
		return nil, fmt.Errorf("%w: its bytes do not have its ID", ErrDamaged)
	}
	return plain, nil
}
