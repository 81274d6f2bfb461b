package disk

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/internal/nbd/qemunbd"
)

// ChainOptions says how a chain of images is opened.
type ChainOptions struct {
	Bitmap  string        // persistent bitmap of the topmost image that Served is to show; "" for none
	Timeout time.Duration // longest silence of qemu-nbd; 0 is any
}

// OpenChain opens an image and its backing files, top first, as somebody states
// them who is believed (libvirt), wherever they lie. Nothing else is opened. It
// is for the caller to see to it that they do not change. An image that cannot be
// opened here, or is in use, is left to QEMU, whose error then tells why. The
// reading ends with ctx.
func OpenChain(ctx context.Context, images []qemunbd.Layer, o ChainOptions) (*Chain, error) {
	var layers []layer
	var files []*file
	for _, l := range images {
		f, direct := openLayer(l)
		if f != nil {
			files = append(files, f)
		}
		layers = append(layers, direct)
	}
	s := &served{ctx: ctx, options: qemunbd.Options{Chain: images, Connections: connections, Bitmap: o.Bitmap}, timeout: o.Timeout}
	c, err := newChain(layers, s)
	if err != nil {
		c = &Chain{served: s}
	}
	c.files = files
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close ends the reading, and with it the locks on the images. The error is why
// qemu-nbd had ended before.
func (c *Chain) Close() error {
	err := c.served.stop()
	for _, f := range c.files {
		f.Close()
	}
	return err
}

// openLayer opens one image, if it is read from its file.
func openLayer(l qemunbd.Layer) (*file, layer) {
	if l.Format != rawFormat && l.Format != qcow2Format || l.DataFile != "" {
		return nil, foreign{}
	}
	f, err := openStated(l.Path)
	if err != nil {
		return nil, foreign{}
	}
	if l.Format == rawFormat {
		return f, newRawLayer(f)
	}
	if err := f.hold(); err == nil {
		h, err := readQcow(f, qcow2Format)
		if err == nil && h.usual && !h.external {
			return f, newQcow2Layer(f, h, f)
		}
	}
	f.Close()
	return nil, foreign{}
}

// openStated opens a file or a block device.
func openStated(path string) (*file, error) {
	opened, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := &file{File: opened, path: path}
	info, err := f.Stat()
	if err == nil {
		err = readable(info.Mode())
	}
	if err == nil {
		f.before, err = f.now(info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	f.sparse = f.before.mayHaveHoles()
	return f, nil
}
