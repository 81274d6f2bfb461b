package pgarchive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// A reader reads the simple things that an archive is made of, and knows where
// it is.
type reader struct {
	r       *bufio.Reader
	off     int64
	intSize int
	offSize int
}

const bufferSize = 64 << 10

// cut is the error of an archive that ends at an offset where more must follow.
func (r *reader) cut(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return &CutError{Offset: r.off}
	}
	return err
}

func (r *reader) byte() (byte, error) {
	b, err := r.r.ReadByte()
	if err != nil {
		return 0, r.cut(err)
	}
	r.off++
	return b, nil
}

func (r *reader) full(p []byte) error {
	n, err := io.ReadFull(r.r, p)
	r.off += int64(n)
	return r.cut(err)
}

// int reads an integer. What does not fit 32 bits, sign aside, nothing in an
// archive is.
func (r *reader) int() (int64, error) {
	b, err := r.r.Peek(1 + r.intSize)
	if err != nil {
		r.off += int64(len(b))
		return 0, r.cut(err)
	}
	n := int64(0)
	for i, c := range b[1:] {
		if i >= 4 && c != 0 {
			return 0, r.bad("a number of more than 32 bits")
		}
		if i < 4 {
			n |= int64(c) << (8 * i)
		}
	}
	sign := b[0]
	_, _ = r.r.Discard(len(b))
	r.off += int64(len(b))
	switch sign {
	case 0:
		return n, nil
	case 1:
		return -n, nil
	}
	return 0, r.bad("a number with the sign %d", sign)
}

// skip passes n bytes over.
func (r *reader) skip(n int64) error {
	for n > 0 {
		part, err := r.r.Discard(int(min(n, 1<<30)))
		r.off, n = r.off+int64(part), n-int64(part)
		if err != nil {
			return r.cut(err)
		}
	}
	return nil
}

// string reads a string and returns its first bytes, up to most of them; ok is
// false for none.
func (r *reader) string(most int64) (s string, ok bool, err error) {
	n, err := r.int()
	switch {
	case err != nil:
		return "", false, err
	case n == -1:
		return "", false, nil
	case n < 0:
		return "", false, r.bad("a string of %d bytes", n)
	}
	b := make([]byte, min(n, most))
	if err := r.full(b); err != nil {
		return "", false, err
	}
	return string(b), true, r.skip(n - int64(len(b)))
}

// skipString passes a string over.
func (r *reader) skipString() (ok bool, err error) {
	_, ok, err = r.string(0)
	return ok, err
}

// bad is the error of an archive that is not one.
func (r *reader) bad(format string, args ...any) error {
	return &DamageError{Offset: r.off, What: fmt.Sprintf(format, args...)}
}
