package fusefs

import (
	"fmt"

	"vaultfs/internal/qcow2"
)

// openDisk is a disk that is being read, with what its files need.
type openDisk struct {
	Disk
	ahead *readAhead
	view  *qcow2.View // reads through the openDisk
	bulk  *qcow2.View // reads past the read-ahead
	sizes diskSizes
}

// diskSizes is what there is to know of a disk's files without reading them, in
// bytes.
type diskSizes struct {
	raw, rawAllocated, qcow2 int64
}

func newOpenDisk(d Disk) (*openDisk, error) {
	o := &openDisk{Disk: d, ahead: &readAhead{disk: d}}
	var err error
	if o.view, err = qcow2.New(o); err != nil {
		return nil, fmt.Errorf("as qcow2: %w", err)
	}
	o.bulk = o.view.Over(d)
	o.sizes = diskSizes{raw: d.Size(), rawAllocated: d.Allocated(), qcow2: o.view.Size()}
	return o, nil
}

// ReadAt reads the disk's bytes and has what a sequential reader wants next made
// ready.
func (o *openDisk) ReadAt(p []byte, off int64) (int, error) {
	o.ahead.observe(off, int64(len(p)))
	return o.Disk.ReadAt(p, off)
}
