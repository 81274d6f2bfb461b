// Package read reads files as a person's programs do, for what a mount is worth.
package read

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

const (
	piece = 1 << 20 // of a sequential read, as cp and qemu-img read
	block = 4096    // of a random one
)

// Sequential reads a file from its beginning, at most n bytes and for at most
// that long, and returns how many bytes it has read and what that took.
func Sequential(ctx context.Context, path string, n int64, most time.Duration) (int64, time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	buf, begin := make([]byte, piece), time.Now()
	var done int64
	for done < n && time.Since(begin) < most {
		if err := ctx.Err(); err != nil {
			return done, 0, err
		}
		got, err := f.Read(buf[:min(piece, n-done)])
		done += int64(got)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return done, 0, err
		}
	}
	return done, time.Since(begin), nil
}

// Random reads single blocks of the first size bytes of a file, one after the
// other at the same places each time, at most n and for at most that long. It
// returns how many blocks it has read and what that took.
func Random(ctx context.Context, path string, size, n int64, most time.Duration) (int64, time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	places := rand.New(rand.NewPCG(1, 2))
	buf, begin := make([]byte, block), time.Now()
	var done int64
	for done < n && time.Since(begin) < most {
		if err := ctx.Err(); err != nil {
			return done, 0, err
		}
		if _, err := f.ReadAt(buf, places.Int64N(size/block)*block); err != nil {
			return done, 0, err
		}
		done++
	}
	return done, time.Since(begin), nil
}
