package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The footer of a VHD image is its last 512 bytes; dynamic images begin with a
// copy of it. Its type is at byte 60, big-endian (Microsoft's Virtual Hard Disk
// Image Format Specification, 2006).
const (
	vpcMagic    = "conectix"
	vpcFooter   = 512
	vpcType     = 60
	vpcFixed    = 2
	vpcDynamic  = 3
	vpcDiffType = 4
)

// checkVPC refuses a VHD that QEMU would misread: one that is the difference to
// another, which QEMU takes for a whole one, and a fixed disk whose guest has
// written a footer at its start, which QEMU would believe.
func checkVPC(r io.ReaderAt, size int64) error {
	first, err := footerType(r, 0)
	if err != nil {
		return err
	}
	last, err := footerType(r, size-vpcFooter)
	if err != nil {
		return err
	}
	switch {
	case first == 0 && last == 0:
		return errors.New("has no vpc header")
	case first == vpcDiffType, last == vpcDiffType:
		return errors.New("is a differencing image, which needs its parent: merge them first")
	case first == 0 && last == vpcFixed, first == vpcDynamic && last != vpcFixed:
		return nil
	}
	return fmt.Errorf("is damaged (types %d at its start and %d at its end)", first, last)
}

// footerType is the type in the footer at an offset; 0 if there is none.
func footerType(r io.ReaderAt, off int64) (uint32, error) {
	if off < 0 {
		return 0, nil
	}
	p := make([]byte, vpcFooter)
	if _, err := r.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("cannot be read (%w)", err)
	}
	if string(p[:8]) != vpcMagic {
		return 0, nil
	}
	return binary.BigEndian.Uint32(p[vpcType:]), nil
}
