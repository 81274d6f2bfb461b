package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"vaultfs/ingest"
	"vaultfs/internal/nbd/qemunbd"
	"vaultfs/repo"
)

// An image is one disk, open for reading.
type image struct {
	path   string // absolute; Stream for a stream
	format string
	notes  []string
	warn   func(string)
	files  []*file         // all that its bytes come from, the image itself first
	chain  []*file         // those of layers
	layers []qemunbd.Layer // as QEMU is given them
	direct []layer         // as they are read
	vmdk   *vmdkDescriptor // of a disk whose size its extents say

	content *Chain // nil for a stream
	stream  io.Reader
}

// maxLayers bounds the length of a backing chain.
const maxLayers = 64

// openImage opens an image and everything that it names, in the format that is
// given or found out.
func openImage(ctx context.Context, path string, o *Options) (*image, error) {
	if path == Stream {
		return &image{path: Stream, format: rawFormat, stream: o.Stdin}, nil
	}
	f, err := openFile(path, true)
	if err != nil {
		return nil, fmt.Errorf("image %q %w", path, err)
	}
	m := &image{path: f.path, files: []*file{f}, warn: o.Warn}
	if err := m.open(ctx, f, o); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *image) open(ctx context.Context, f *file, o *Options) error {
	c, err := choice{format: o.Format}, error(nil)
	if c.format == "" {
		c, err = chooseFormat(f)
	}
	if err != nil {
		return fmt.Errorf("image %q %w", f.path, err)
	}
	m.format = c.format
	if c.odd {
		m.tell(c.note)
	} else if c.note != "" {
		m.notes = append(m.notes, c.note)
	}
	if err := m.addChain(ctx, f, c.format, o.AllowBacking); err != nil {
		return err
	}
	if err := m.read(ctx); err != nil {
		return m.explain(err)
	}
	return m.checkSize()
}

// read makes the content of the layers.
func (m *image) read(ctx context.Context) (err error) {
	s := &served{ctx: ctx, options: qemunbd.Options{Chain: m.layers, Connections: connections}}
	if m.content, err = newChain(m.direct, s); err != nil {
		s.stop()
		return err
	}
	if m.vmdk != nil && m.vmdk.size() != m.content.Size() {
		return fmt.Errorf("its extents add up to %d bytes, and QEMU sees %d", m.vmdk.size(), m.content.Size())
	}
	return nil
}

// tell notes what a person should know at once, too.
func (m *image) tell(text string) {
	m.notes = append(m.notes, text)
	m.warn(fmt.Sprintf("image %q: %s", m.path, text))
}

func (m *image) checkSize() error {
	if n := m.content.Size(); n > repo.MaxDiskSize {
		return fmt.Errorf("image %q is a disk of %d bytes, more than %d", m.path, n, int64(repo.MaxDiskSize))
	}
	return nil
}

// addChain makes the layers of an image and of its backing files.
func (m *image) addChain(ctx context.Context, f *file, format string, anywhere bool) error {
	for {
		if len(m.layers) == maxLayers {
			return fmt.Errorf("image %q: its backing chain has more than %d images", m.path, maxLayers)
		}
		backing, stated, err := m.addLayer(ctx, f, format, anywhere)
		if err != nil || backing == "" {
			return err
		}
		next, err := openNamed(f, "backing file", backing, anywhere)
		if err != nil {
			return err
		}
		m.files = append(m.files, next)
		for _, above := range m.chain {
			if next.before.dev == above.before.dev && next.before.ino == above.before.ino {
				return fmt.Errorf("image %q: its backing file %q stands above it in the chain", f.path, next.path)
			}
		}
		if format, err = backingFormat(f, next, stated); err != nil {
			return err
		}
		f = next
	}
}

// addLayer adds one image, with the other files of its own, and returns the
// name and the format of its backing file as they stand in it.
func (m *image) addLayer(ctx context.Context, f *file, format string, anywhere bool) (backing, stated string, err error) {
	served, direct := qemunbd.Layer{Path: f.path, Format: format}, layer(foreign{})
	switch format {
	case rawFormat:
		direct = newRawLayer(f)
	case qcow2Format, qcowFormat:
		if err := f.hold(); err != nil {
			return "", "", of(f, err)
		}
		h, err := readQcow(f, format)
		if err != nil {
			return "", "", of(f, err)
		}
		holder, err := m.addClusters(ctx, f, h, anywhere)
		if err != nil {
			return "", "", err
		}
		if h.usual {
			direct = newQcow2Layer(f, h, holder)
		}
		if holder != f {
			served.DataFile = holder.path
		}
		m.noteState(f, h)
		backing, stated = h.backing, h.backingFormat
	case vmdkFormat:
		err = m.addExtents(f, anywhere)
	case vdiFormat:
		err = of(f, checkVDI(f, uint64(f.before.size)))
	case vpcFormat:
		err = of(f, checkVPC(f, f.before.size))
	}
	if err != nil {
		return "", "", err
	}
	m.chain, m.layers, m.direct = append(m.chain, f), append(m.layers, served), append(m.direct, direct)
	return backing, stated, nil
}

// of names the image that an error is about; nil stays nil.
func of(f *file, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("image %q %w", f.path, err)
}

// addClusters opens the data file that a header names, if it does, and compares
// what the header's tables point at with the file that it is in, which it
// returns.
func (m *image) addClusters(ctx context.Context, f *file, h *qcowHeader, anywhere bool) (holder *file, err error) {
	holder = f
	if h.external {
		if holder, err = openNamed(f, "data file", h.dataFile, anywhere); err != nil {
			return nil, err
		}
		m.files = append(m.files, holder)
	}
	if h.version == 1 {
		return holder, nil
	}
	return holder, of(f, h.tables.check(ctx, f, uint64(f.before.size), uint64(holder.before.size)))
}

// noteState tells of what a header says that a person should know.
func (m *image) noteState(f *file, h *qcowHeader) {
	if h.dirty {
		m.tell(fmt.Sprintf("%s was not closed by its last user (a crash?)", ingest.Printable(filepath.Base(f.path))))
	}
	if h.snapshots > 0 && len(m.layers) == 0 {
		m.tell(fmt.Sprintf("its internal snapshots (%d) are left out: only the current state is read", h.snapshots))
	}
}

// addExtents opens the files that a VMDK descriptor names. The names in a
// descriptor inside of a sparse extent are not used, neither by QEMU.
func (m *image) addExtents(f *file, anywhere bool) error {
	d, embedded, err := readVMDK(f, f.before.size)
	if err != nil {
		return fmt.Errorf("image %q %w", f.path, err)
	}
	if f == m.files[0] {
		m.vmdk = d
	}
	if embedded {
		return of(f, checkSparse(f, uint64(f.before.size)))
	}
	opened := map[string]*file{}
	for _, e := range d.extents {
		extent := opened[e.name]
		if extent == nil {
			if extent, err = openNamed(f, "extent", e.name, anywhere); err != nil {
				return err
			}
			opened[e.name] = extent
			m.files = append(m.files, extent)
		}
		if err := e.checkFile(extent, uint64(extent.before.size)); err != nil {
			return fmt.Errorf("image %q: its extent %q %w", f.path, extent.path, err)
		}
	}
	return nil
}

// count adds the data of the image to what there is to read.
func (m *image) count(ctx context.Context, p *ingest.Progress) error {
	if m.content == nil {
		return nil
	}
	n, err := ingest.DataBytes(ctx, m.content)
	p.Total.Add(n)
	return err
}

// copy stores the disk, of which base is an earlier state, or nil. The item has no
// name yet.
func (m *image) copy(ctx context.Context, s *repo.Session, base *repo.Disk, p *ingest.Progress) (it repo.Item, err error) {
	if m.content == nil {
		it.Root, it.Size, err = ingest.CopyStream(ctx, s, m.stream, base, p)
		if err == nil && it.Size == 0 {
			err = ErrEmpty // the program that should have written it failed
		}
	} else {
		it.Size = m.content.Size()
		it.Root, err = ingest.CopyDiskFrom(ctx, s, m.content, base, p)
	}
	it.Kind = repo.ItemDisk
	it.Path, it.Format, it.Note = ingest.Printable(m.path), m.format, strings.Join(m.notes, "; ")
	return it, err
}

// unchanged reports ErrChanged if any of the image's files is not what it was
// when it was opened.
func (m *image) unchanged() error {
	for _, f := range m.files {
		if err := f.unchanged(); err != nil {
			return fmt.Errorf("image %q %w", f.path, err)
		}
	}
	return nil
}

// explain says the reason for an error of reading, if it is that the image
// changed or that a guest has it open.
func (m *image) explain(err error) error {
	if changed := m.unchanged(); changed != nil {
		return fmt.Errorf("%w (%w)", changed, err)
	}
	if lockError.MatchString(err.Error()) {
		return fmt.Errorf("image %q %w", m.path, ErrInUse)
	}
	if errors.Is(err, ErrEmpty) {
		return err
	}
	if m.path == Stream {
		return fmt.Errorf("standard input: %w", err)
	}
	return fmt.Errorf("image %q: %w", m.path, err)
}

func (m *image) close() {
	if m.content != nil {
		m.content.Close()
	}
	for _, f := range m.files {
		f.Close()
	}
}
