package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A Disk is a stored disk, for reading. It may be used by several goroutines.
type Disk struct {
	repo *Repo
	root *format.Disk
	// openedBy is the session that may take segments over, and distrusts what
	// it finds damaged; nil if OpenBase did not open the disk.
	openedBy *Session

	mu     sync.Mutex
	tables []format.DiskTable // by page; nil for one that is not loaded, or of zeros

	ahead chan struct{} // one token for each chunk that is being read ahead
}

// aheadChunks bounds the chunks of one disk that are read ahead at a time: at
// most 8 MiB decoded, and enough to keep a slow store busy.
const aheadChunks = 16

// OpenDisk opens a disk of a snapshot.
func (r *Repo) OpenDisk(ctx context.Context, it Item) (*Disk, error) {
	if it.Kind != ItemDisk {
		return nil, fmt.Errorf("%s: a %s, not a disk", it.Name, it.Kind)
	}
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	b, err := r.readChunk(ctx, format.DiskRoot, it.Root)
	if err != nil {
		return nil, fmt.Errorf("disk %s: %w", it.Name, err)
	}
	root, err := format.DecodeDisk(b)
	if err != nil {
		return nil, damage("disk "+it.Name, err)
	}
	if root.Size != it.Size {
		return nil, &DamageError{"disk " + it.Name, fmt.Errorf("%d bytes, %d in the manifest", root.Size, it.Size)}
	}
	return &Disk{repo: r, root: root, tables: make([]format.DiskTable, len(root.Pages)),
		ahead: make(chan struct{}, aheadChunks)}, nil
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return d.root.Size }

// SegmentSize is the size of a segment in bytes.
func (d *Disk) SegmentSize() int64 { return d.root.SegmentSize }

// Segments is the number of segments; the last may be partial.
func (d *Disk) Segments() int { return int(d.root.Segments()) }

// Allocated is the number of bytes in grains that are not zero.
func (d *Disk) Allocated() (n int64) {
	for _, p := range d.root.Pages {
		n += int64(p.Grains) * chunk.Grain
	}
	return n
}

// page returns the page that describes a segment; nil means zeros.
func (d *Disk) page(segment int) (format.DiskTable, error) {
	i := segment / format.PageSegments
	id := d.root.Pages[i].Map
	if id.IsZero() {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables[i] != nil {
		return d.tables[i], nil
	}
	b, err := d.repo.readChunk(context.Background(), format.DiskPage, id)
	if err != nil {
		return nil, err
	}
	d.tables[i], err = decodePage(b, d.root, i)
	return d.tables[i], err
}

// decodePage reads page i of a disk and checks it against the root.
func decodePage(b []byte, root *format.Disk, i int) (format.DiskTable, error) {
	label := fmt.Sprintf("disk page %d", i)
	t, err := format.DecodePage(b, root.SegmentSize)
	if err != nil {
		return nil, damage(label, err)
	}
	var sum format.Entry
	for _, e := range t {
		sum.Clusters += e.Clusters
		sum.Grains += e.Grains
	}
	want := min(format.PageSegments, root.Segments()-int64(i)*format.PageSegments)
	if int64(len(t)) != want || sum.Clusters != root.Pages[i].Clusters || sum.Grains != root.Pages[i].Grains {
		return nil, &DamageError{label, fmt.Errorf("its entries do not add up to what the root says")}
	}
	return t, nil
}

// Clusters is the number of 64 KiB clusters of a segment that hold data. Check
// has succeeded before it is called.
func (d *Disk) Clusters(segment int) uint32 {
	t, err := d.page(segment)
	if err != nil || t == nil {
		return 0
	}
	return uint32(t[segment%format.PageSegments].Clusters)
}

// Check loads all pages, which stay loaded, and returns the first error.
func (d *Disk) Check() error {
	for i := range d.root.Pages {
		if _, err := d.page(i * format.PageSegments); err != nil {
			return err
		}
	}
	return nil
}

// entry returns what the page says of a segment; the zero entry means zeros.
func (d *Disk) entry(segment int) (format.Entry, error) {
	if segment < 0 || segment >= d.Segments() {
		return format.Entry{}, fmt.Errorf("segment %d of a disk of %d", segment, d.Segments())
	}
	t, err := d.page(segment)
	if err != nil || t == nil {
		return format.Entry{}, err
	}
	return t[segment%format.PageSegments], nil
}

// SegmentData is the number of bytes of a segment in grains that are not zero.
func (d *Disk) SegmentData(segment int) (int64, error) {
	e, err := d.entry(segment)
	return int64(e.Grains) * chunk.Grain, err
}

// HasData tells whether a segment holds anything but zeros. It needs the
// segment's page only.
func (d *Disk) HasData(segment int) (bool, error) {
	e, err := d.entry(segment)
	return !e.Map.IsZero(), err
}

// Segment returns the extents of a segment; none means zeros. The caller does
// not change them.
func (d *Disk) Segment(i int) (SegmentMap, error) {
	s, err := d.segment(i)
	if err != nil {
		return nil, err
	}
	return s.extents, nil
}

// WasSegment is Segment for who puts again all that it uses of the map, and the map
// itself: it finds damage in the map, and says so, but does not make the session
// distrust the pack that it is in. Other maps there may be in use already, each of
// them was read; and a damaged one is stored again as it is put.
func (d *Disk) WasSegment(i int) (SegmentMap, error) {
	s, err := d.segmentOr(i, func(_ format.Kind, _ chunk.ID, err error) error { return err })
	if err != nil {
		return nil, err
	}
	return s.extents, nil
}

// A segment is a decoded segment map, and which of its clusters hold data.
type segment struct {
	extents format.SegmentMap
	bits    []uint64
}

// segment returns a segment's map; of one that is zeros it is empty.
func (d *Disk) segment(i int) (*segment, error) { return d.segmentOr(i, d.unread) }

// segmentOr is segment; unread is told of a map that cannot be read, and returns the
// error.
func (d *Disk) segmentOr(i int, unread func(format.Kind, chunk.ID, error) error) (*segment, error) {
	e, err := d.entry(i)
	if err != nil {
		return nil, err
	}
	if e.Map.IsZero() {
		return &segment{bits: d.bits(nil)}, nil
	}
	v, err := d.repo.maps.get(e.Map, func() (any, int64, error) {
		b, err := d.repo.fetch(context.Background(), format.DiskMap, e.Map)
		if err != nil {
			return nil, 0, unread(format.DiskMap, e.Map, err)
		}
		m, err := decodeMap(b, d.root.SegmentSize, e, i)
		if err != nil {
			return nil, 0, err
		}
		s := &segment{m, d.bits(m)}
		return s, int64(len(m))*48 + int64(len(s.bits))*8 + 128, nil
	})
	if err != nil {
		return nil, err
	}
	found, ok := v.(*segment)
	if !ok {
		return nil, &DamageError{fmt.Sprintf("map of segment %d", i), errors.New("it is something else")}
	}
	return found, nil
}

// decodeMap reads the map of segment i and checks it against the page.
func decodeMap(b []byte, segmentSize int64, e format.Entry, i int) (format.SegmentMap, error) {
	label := fmt.Sprintf("map of segment %d", i)
	m, err := format.DecodeSegmentMap(b, segmentSize)
	if err != nil {
		return nil, damage(label, err)
	}
	if clusters, grains := m.Counts(); uint64(clusters) != e.Clusters || uint64(grains) != e.Grains {
		return nil, &DamageError{label, fmt.Errorf("it does not hold as much as its page says")}
	}
	return m, nil
}

// bits has a bit for each cluster that an extent touches.
func (d *Disk) bits(m format.SegmentMap) []uint64 {
	clusters := d.root.SegmentSize / format.ClusterSize
	bits := make([]uint64, (clusters+63)/64)
	for _, e := range m {
		for c := e.Off / format.ClusterSize; c <= (e.Off+e.Len-1)/format.ClusterSize; c++ {
			bits[c/64] |= 1 << (c % 64)
		}
	}
	return bits
}

// Bitmap has a bit for each 64 KiB cluster of a segment, lowest first; it is
// set when the cluster holds data. Nobody writes to it.
func (d *Disk) Bitmap(segment int) ([]uint64, error) {
	s, err := d.segment(segment)
	if err != nil {
		return nil, err
	}
	return s.bits, nil
}

// ReadAt reads guest bytes, as io.ReaderAt does. Holes are zeros.
func (d *Disk) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	short := off+int64(len(p)) > d.root.Size
	if short {
		p = p[:max(0, d.root.Size-off)]
	}
	for n < len(p) {
		at := off + int64(n)
		i := at / d.root.SegmentSize
		start := i * d.root.SegmentSize
		part := p[n:min(int64(len(p)), int64(n)+start+d.root.SegmentSize-at)]
		s, err := d.segment(int(i))
		if err != nil {
			return n, err
		}
		done, err := d.readSegment(part, at-start, s.extents)
		if n += done; err != nil {
			return n, err
		}
	}
	if short {
		err = io.EOF
	}
	return n, err
}

// readSegment fills p from byte off of a segment.
func (d *Disk) readSegment(p []byte, off int64, m format.SegmentMap) (n int, err error) {
	i := sort.Search(len(m), func(i int) bool { return m[i].Off+m[i].Len > off })
	for n < len(p) {
		at := off + int64(n)
		if i == len(m) || m[i].Off >= off+int64(len(p)) {
			clear(p[n:])
			return len(p), nil
		}
		e := m[i]
		if at < e.Off {
			clear(p[n : n+int(e.Off-at)])
			n += int(e.Off - at)
			continue
		}
		part := p[n:min(int64(len(p)), int64(n)+e.Off+e.Len-at)]
		if err := d.repo.readPart(part, dataChunk{e.ID, e.Len}, at-e.Off); err != nil {
			return n, d.unread(format.Data, e.ID, err)
		}
		n += len(part)
		i++
	}
	return n, nil
}

// ReadExtent decodes one extent of a disk's map into dst, when that has the room,
// past the memory that other readers share: for who goes through a whole disk
// once. The bytes are proved, and are the caller's.
func (d *Disk) ReadExtent(ctx context.Context, e Extent, dst []byte) ([]byte, error) {
	plain, err := d.repo.fetchInto(ctx, format.Data, e.ID, dst)
	if err != nil {
		return nil, d.unread(format.Data, e.ID, err)
	}
	if err := (dataChunk{e.ID, e.Len}).check(len(plain)); err != nil {
		return nil, err
	}
	return plain, nil
}

// unread tells the session that goes on from the disk, if there is one, of a
// chunk that could not be read. It returns the error.
func (d *Disk) unread(k format.Kind, id chunk.ID, err error) error {
	if d.openedBy != nil && isDamage(err) {
		d.openedBy.distrust(k, id)
	}
	return err
}

// Prefetch asks for the chunks of a range to be decoded into the cache in the
// background, and returns at once. What cannot be begun now is left out.
func (d *Disk) Prefetch(off, n int64) {
	end := min(off+n, d.root.Size)
	for off < end {
		i := off / d.root.SegmentSize
		start := i * d.root.SegmentSize
		s, err := d.segment(int(i))
		if err != nil {
			return // the read itself will say so
		}
		for _, e := range s.extents {
			if start+e.Off+e.Len <= off || start+e.Off >= end || d.repo.chunks.holds(e.ID) {
				continue
			}
			select {
			case d.ahead <- struct{}{}:
				go func() {
					defer func() { <-d.ahead }()
					d.repo.bring(dataChunk{e.ID, e.Len})
				}()
			default:
				return
			}
		}
		off = start + d.root.SegmentSize
	}
}

// NextData returns the first byte at or after off that is not in a hole, in
// steps of 4 KiB, or io.EOF if only holes follow.
func (d *Disk) NextData(off int64) (int64, error) {
	if off >= d.root.Size { // the last extent may reach beyond the end
		return 0, io.EOF
	}
	for i := int(off / d.root.SegmentSize); i < d.Segments(); i++ {
		if t, err := d.page(i); err != nil {
			return 0, err
		} else if t == nil {
			i |= format.PageSegments - 1 // the last of its page
			continue
		}
		s, err := d.segment(i)
		if err != nil {
			return 0, err
		}
		m := s.extents
		start := int64(i) * d.root.SegmentSize
		k := sort.Search(len(m), func(k int) bool { return start+m[k].Off+m[k].Len > off })
		if k < len(m) {
			return max(off, start+m[k].Off), nil
		}
	}
	return 0, io.EOF
}

// NextHole returns the first byte at or after off that is in a hole; the end
// of the disk counts as one.
func (d *Disk) NextHole(off int64) (int64, error) {
	for off < d.root.Size {
		i := int(off / d.root.SegmentSize)
		s, err := d.segment(i)
		if err != nil {
			return 0, err
		}
		m := s.extents
		start := int64(i) * d.root.SegmentSize
		k := sort.Search(len(m), func(k int) bool { return start+m[k].Off+m[k].Len > off })
		for ; k < len(m) && start+m[k].Off <= off; k++ {
			off = start + m[k].Off + m[k].Len
		}
		if off < start+d.root.SegmentSize {
			break
		}
	}
	return min(off, d.root.Size), nil
}
