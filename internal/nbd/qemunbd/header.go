package qemunbd

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// checkDataFile refuses a qcow2 image that would make QEMU open a data file by the name in its header: that must be
// given. The feature is bit 2 of incompatible_features, at byte 72 of a header of version 3 (QEMU's
// docs/interop/qcow2.txt).
func (l *Layer) checkDataFile() error {
	f, err := os.Open(l.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	var h [80]byte
	if _, err := io.ReadFull(f, h[:]); err != nil {
		return errors.New("too short for qcow2")
	}
	external := binary.BigEndian.Uint32(h[4:]) >= 3 && binary.BigEndian.Uint64(h[72:])&(1<<2) != 0
	if external && l.DataFile == "" {
		return errors.New("keeps its data in another file, which is not given")
	}
	return nil
}
