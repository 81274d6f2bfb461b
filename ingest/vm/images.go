package vm

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	imagefile "vaultfs/ingest/disk"
	"vaultfs/internal/nbd"
	"vaultfs/internal/nbd/qemunbd"
)

// openImages opens the disk that images make up, with their bitmap of that name if one is given. It is read from the files
// where they hold it as it is; qemu-nbd gives the rest, and the bitmap.
func openImages(ctx context.Context, d *disk, chain []layer, bitmap string) (openDisk, error) {
	one := openDisk{disk: *d}
	layers := make([]qemunbd.Layer, len(chain))
	for i, l := range chain {
		layers[i] = qemunbd.Layer{Path: l.path, Format: l.format}
	}
	images, err := imagefile.OpenChain(ctx, layers, imagefile.ChainOptions{Bitmap: bitmap, Timeout: nbdTimeout})
	if err != nil {
		return one, err
	}
	one.content = images
	if bitmap != "" {
		one.bitmap = nbd.ContextDirtyBitmap + bitmap
		if one.marks, err = images.Served(); err != nil {
			return one, errors.Join(err, images.Close())
		}
	}
	return one, nil
}

// fileState is what must not change while an image is read.
type fileState struct {
	path         string
	dev, ino     uint64
	size         int64
	mtime, ctime time.Time
	device       bool // times of a device node say nothing of its content
}

// statesOf is the state of every image of a chain.
func statesOf(chain []layer) (states []fileState, err error) {
	for _, l := range chain {
		state, err := stateOf(l.path)
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}

func stateOf(path string) (fileState, error) {
	st, err := os.Stat(path)
	if err != nil {
		return fileState{}, err
	}
	s := st.Sys().(*syscall.Stat_t)
	return fileState{
		path: path, dev: s.Dev, ino: s.Ino, size: st.Size(), device: !st.Mode().IsRegular(),
		mtime: st.ModTime(), ctime: time.Unix(s.Ctim.Unix()),
	}, nil
}

// changed says what differs from a later state; "" when nothing does.
func (a fileState) changed(b fileState) string {
	switch {
	case a.dev != b.dev || a.ino != b.ino:
		return "replaced"
	case a.device:
		return ""
	case a.size != b.size:
		return "resized"
	case !a.mtime.Equal(b.mtime):
		return "written to"
	case !a.ctime.Equal(b.ctime):
		return "changed (its owner, mode, links or times)"
	}
	return ""
}
