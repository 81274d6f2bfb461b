package vm

import (
	"context"
	"os"
	"syscall"
	"time"

	"vaultfs/internal/nbd"
	"vaultfs/internal/nbd/qemunbd"
)

// serveChain serves a disk's images through qemu-nbd, with their bitmap of that name if one is given, and opens the disk.
// A server that is returned is the caller's to close, also beside an error.
func serveChain(ctx context.Context, d *disk, chain []layer, bitmap string) (*qemunbd.Server, openDisk, error) {
	one := openDisk{disk: *d}
	layers := make([]qemunbd.Layer, len(chain))
	for i, l := range chain {
		layers[i] = qemunbd.Layer{Path: l.path, Format: l.format}
	}
	server, err := qemunbd.Start(ctx, qemunbd.Options{Chain: layers, Connections: connections, Bitmap: bitmap})
	if err != nil {
		return nil, one, err
	}
	options := nbd.Options{Contexts: []string{nbd.ContextAllocation}, Connections: connections, Timeout: nbdTimeout}
	if bitmap != "" {
		one.bitmap = nbd.ContextDirtyBitmap + bitmap
		options.Contexts = append(options.Contexts, one.bitmap)
	}
	one.Client, err = server.Dial(ctx, options)
	return server, one, err
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
