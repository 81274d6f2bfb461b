package disk

import (
	"context"
	"fmt"

	"vaultfs/ingest"
)

// An Opened is an image that is read without being backed up, under all the
// rules that hold for a backup.
type Opened struct {
	ingest.Image
	m *image
}

// Open opens an image file or a block device. Of the options those that say how
// an image is read are used.
func Open(ctx context.Context, path string, o Options) (*Opened, error) {
	if path == Stream {
		return nil, fmt.Errorf("%w: a disk from standard input can be read once only: give a file", ErrUsage)
	}
	if err := o.complete([]string{path}); err != nil {
		return nil, err
	}
	m, err := openImage(ctx, path, &o)
	if err != nil {
		return nil, err
	}
	return &Opened{m.content, m}, nil
}

// Path is the absolute path of the image.
func (o *Opened) Path() string { return o.m.path }

// Format is one of Formats.
func (o *Opened) Format() string { return o.m.format }

// Files are the paths of all files that the image's bytes come from.
func (o *Opened) Files() (paths []string) {
	for _, f := range o.m.files {
		paths = append(paths, f.path)
	}
	return paths
}

// Unchanged reports ErrChanged if any of the files is not what it was when the
// image was opened.
func (o *Opened) Unchanged() error { return o.m.unchanged() }

// Explain gives an error of reading the image's name, and its reason if that is
// that the image changed or that a guest has it open.
func (o *Opened) Explain(err error) error { return o.m.explain(err) }

// Close ends the reading.
func (o *Opened) Close() { o.m.close() }
