package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// writeDevice writes a disk over the beginning of a block device.
func writeDevice(ctx context.Context, s *Source, dest string, p *Progress) error {
	// O_EXCL fails on a device that is mounted or otherwise in use.
	f, err := os.OpenFile(dest, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("device %s is in use: unmount it first", dest)
	} else if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("device %s: %w", dest, err)
	}
	if size < s.Size() {
		return fmt.Errorf("device %s has %d bytes, the disk %s has %d: it does not fit", dest, size, s.item.Name, s.Size())
	}
	c := &copier{src: s, dst: &output{file: f}, progress: p, zero: func(off, n int64) error { return zeroDevice(ctx, f, off, n) }}
	err = c.copy(ctx)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("restoring to device %s, which is now written in part: %w", dest, err)
	}
	return nil
}

// zeroStep is how much is zeroed between two looks at the context, in bytes.
const zeroStep = 1 << 30

// zeroDevice zeroes a range, by the device itself if it can.
func zeroDevice(ctx context.Context, f *os.File, off, n int64) error {
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		step := min(n, zeroStep)
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, step)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			err = writeZeros(ctx, f, off, step)
		}
		if err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

func writeZeros(ctx context.Context, f *os.File, off, n int64) error {
	buf := make([]byte, 1<<20)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		step := min(n, int64(len(buf)))
		if _, err := f.WriteAt(buf[:step], off); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}
