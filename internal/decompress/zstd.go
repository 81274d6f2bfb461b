package decompress

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// MaxWindow is the largest window that a zstd stream may need, in bytes: what
// `zstd --long=27` and `zstd --ultra -22` make.
const MaxWindow = 128 << 20

// newZstd decodes frames, one after the other, skippable ones among them, up to
// the end of the input.
func newZstd(in *input) (io.ReadCloser, error) {
	// With a concurrency of one there are no goroutines, and nothing is read
	// ahead of what is decoded.
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
	if err != nil {
		return nil, err
	}
	return zstdReader{d}, nil
}

type zstdReader struct{ d *zstd.Decoder }

func (z zstdReader) Close() error {
	z.d.Close()
	return nil
}

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.d.Read(p)
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = fmt.Errorf("it needs a window of more than %d MiB: compress it again with zstd --long=27 or without --long", MaxWindow>>20)
	case errors.Is(err, zstd.ErrMagicMismatch):
		err = errTrailing
	}
	return n, err
}

// errTrailing is of what follows the end of compressed data.
var errTrailing = errors.New("something else follows the end of the compressed data")
