package qemunbd

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// HasDataFile tells whether a qcow2 image keeps its data in another file, which QEMU would open by the name in the
// image's header if it is given no other. That is bit 2 of incompatible_features, at byte 72 of a header of version 3
// (QEMU's docs/interop/qcow2.txt). It is an error if the file cannot be read or is no qcow2 image.
func HasDataFile(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var h [80]byte
	if n, err := io.ReadFull(f, h[:]); err != nil && n < minHeader {
		return false, errors.New("too short for qcow2")
	}
	if string(h[:4]) != "QFI\xfb" {
		return false, errors.New("no qcow2 image")
	}
	return binary.BigEndian.Uint32(h[4:]) >= 3 && binary.BigEndian.Uint64(h[72:])&(1<<2) != 0, nil
}

// minHeader is the length of a header of version 2, in bytes.
const minHeader = 72

// checkDataFile refuses a qcow2 image that keeps its data in another file, unless that is given.
func (l *Layer) checkDataFile() error {
	external, err := HasDataFile(l.Path)
	if err != nil {
		return err
	}
	if external && l.DataFile == "" {
		return errors.New("keeps its data in another file, which is not given")
	}
	return nil
}
