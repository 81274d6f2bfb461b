package decompress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"io"
	"slices"

	"github.com/anchore/go-lzo"
)

// maxBlock is the largest block that lzop makes or takes, in bytes.
const maxBlock = 64 << 20

// splitMark stands in the place of a block's length where lzop --split has ended
// a part.
const splitMark = 0xffffffff

// An lzopReader reads files as lzop(1) writes them, one after the other. What
// follows the header is blocks: the length of the plain bytes (0 ends the file),
// the length of the stored ones, checksums of the plain ones, checksums of the
// stored ones if these are fewer, and the bytes, compressed if they are fewer.
// All numbers are big-endian.
type lzopReader struct {
	in     *input
	flags  uint32
	open   bool // within a file
	stored []byte
	buf    []byte
	plain  []byte // of buf, not read yet
}

func newLzop(in *input) io.ReadCloser { return &lzopReader{in: in} }

func (l *lzopReader) Close() error { return nil }

func (l *lzopReader) Read(p []byte) (int, error) {
	for len(l.plain) == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.plain)
	l.plain = l.plain[n:]
	return n, nil
}

// next reads a header or a block.
func (l *lzopReader) next() error {
	if l.open {
		return l.block()
	}
	if _, err := l.in.Peek(1); err != nil {
		return err
	}
	flags, err := readLzopHeader(l.in)
	l.flags, l.open = flags, err == nil
	return err
}

// block reads a block, or the end of a file.
func (l *lzopReader) block() error {
	length, err := l.number()
	if err != nil {
		return err
	}
	switch {
	case length == 0:
		l.open = false
		return nil
	case length == splitMark:
		return errors.New("it is one part of an archive that was split, which is not read: decompress it with lzop")
	case length > maxBlock:
		return fmt.Errorf("a block of %d bytes: at most %d are allowed", length, maxBlock)
	}
	stored, err := l.number()
	if err != nil {
		return err
	}
	if stored == 0 || stored > length {
		return fmt.Errorf("a block of %d bytes is stored in %d", length, stored)
	}
	return l.content(int(length), int(stored))
}

// content reads the checksums and the bytes of a block.
func (l *lzopReader) content(length, stored int) error {
	ofPlain, err := l.sums(flagAdler32D, flagCRC32D)
	if err != nil {
		return err
	}
	ofStored := ofPlain
	if stored < length {
		if ofStored, err = l.sums(flagAdler32C, flagCRC32C); err != nil {
			return err
		}
	}
	if l.stored, err = readGrowing(l.in, l.stored, stored); err != nil {
		return err
	}
	if err := ofStored.check(l.stored); err != nil {
		return fmt.Errorf("a block of %d bytes, as it is stored, %w", stored, err)
	}
	if stored == length {
		l.plain = l.stored
		return nil
	}
	l.buf = slices.Grow(l.buf[:0], length)[:length]
	n, err := lzo.Decompress(l.stored, l.buf)
	if err == nil && n != length {
		err = fmt.Errorf("it gives %d bytes", n)
	}
	if err != nil {
		return fmt.Errorf("a block of %d bytes, stored in %d: %w", length, stored, err)
	}
	if err := ofPlain.check(l.buf); err != nil {
		return fmt.Errorf("a block of %d bytes, decompressed, %w", length, err)
	}
	l.plain = l.buf
	return nil
}

// readGrowing reads n bytes into b, which grows as they come, so that a length
// that is a lie takes no memory.
func readGrowing(r io.Reader, b []byte, n int) ([]byte, error) {
	const step = 1 << 20
	for b = b[:0]; len(b) < n; {
		k := min(step, n-len(b))
		b = slices.Grow(b, k)
		got, err := io.ReadFull(r, b[len(b):len(b)+k])
		if b = b[:len(b)+got]; err != nil {
			return b, cutHeader(err)
		}
	}
	return b, nil
}

// number reads a number of 32 bits.
func (l *lzopReader) number() (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(l.in, b[:])
	return binary.BigEndian.Uint32(b[:]), cutHeader(err)
}

// sums are the checksums of a run of bytes; nil is one that there is not.
type sums struct{ adler, crc *uint32 }

// sums reads those checksums that the header's flags announce.
func (l *lzopReader) sums(adler, crc uint32) (s sums, err error) {
	read := func(flag uint32) *uint32 {
		if err != nil || l.flags&flag == 0 {
			return nil
		}
		var n uint32
		n, err = l.number()
		return &n
	}
	s.adler = read(adler)
	s.crc = read(crc)
	return s, err
}

func (s sums) check(b []byte) error {
	if s.adler != nil && adler32.Checksum(b) != *s.adler || s.crc != nil && crc32.ChecksumIEEE(b) != *s.crc {
		return errors.New("does not match its checksum")
	}
	return nil
}
