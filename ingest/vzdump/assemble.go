package vzdump

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// Bounds of the memory of an ingest. Beside them a worker takes about 30 MB. Tests
// lower the first.
var pageMemory = 128 << 20 // for blocks of segments that are not complete, in bytes

const (
	maxWorkers = 3 // that cut and store complete segments
	maxLoads   = 2 // segments that are being read back from the spool: memory of a segment each
)

// An assembler makes disks of clusters that come in any order, of any drive. It
// keeps blocks until their segment is complete, those that are not zeros alone,
// and then gives it to a worker that cuts and stores it. If memory runs short,
// segments that nothing has come of for the longest time go to the spool.
type assembler struct {
	session *repo.Session
	reader  *vma.Reader
	size    int64 // of a segment, in bytes
	drives  []*drive
	pages   *pages
	spool   *spool
	recent  *list.List // segments with blocks in memory, the last touched first

	ready   chan *segment
	loads   chan []byte // memory to read segments back into, nil if it was not needed yet
	workers *errgroup.Group
	ctx     context.Context // of the workers
}

// A drive is one of the archive's, and the disk that it becomes.
type drive struct {
	size    int64 // bytes
	disk    *repo.DiskWriter
	pending map[int64]*segment
}

// assemble reads an archive to its end and returns the roots of its drives'
// disks. What does not fit into memory goes to a file in the state directory.
func assemble(ctx context.Context, s *repo.Session, r *vma.Reader, stateDir string) (roots []chunk.ID, err error) {
	a := &assembler{session: s, reader: r, size: s.Repo().SegmentSize(), spool: newSpool(stateDir), recent: list.New(),
		ready: make(chan *segment), loads: make(chan []byte, maxLoads)}
	if a.pages, err = newPages(pageMemory); err != nil {
		return nil, err
	}
	defer a.close()
	for _, d := range r.Header().Drives {
		a.drives = append(a.drives, &drive{size: d.Size, disk: s.NewDisk(), pending: map[int64]*segment{}})
	}
	for range maxLoads {
		a.loads <- nil
	}
	a.workers, a.ctx = errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), maxWorkers) {
		a.workers.Go(a.work)
	}
	err = a.read()
	close(a.ready)
	if failed := a.workers.Wait(); failed != nil {
		err = failed // why the reading ended, if that did
	}
	if err != nil {
		return nil, err
	}
	lane := s.Lane()
	for _, d := range a.drives {
		root, err := d.disk.Finish(ctx, lane, d.size)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// close gives the memory back; the workers have ended.
func (a *assembler) close() {
	for range maxLoads {
		if b := <-a.loads; b != nil {
			_ = unix.Munmap(b) // only a bug makes it fail
		}
	}
	_ = a.pages.close()
	_ = a.spool.close() // what it held is gone or of no use
}

// read takes all clusters of the archive.
func (a *assembler) read() error {
	for {
		c, err := a.reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		if err := a.add(c); err != nil {
			return err
		}
	}
}

var zeroBlock [chunk.Grain]byte

// add takes a cluster.
func (a *assembler) add(c vma.Cluster) error {
	d, perSegment := a.drives[c.Drive], a.size/vma.ClusterSize
	number := c.Number / perSegment
	s, first := d.pending[number], uint32(c.Number%perSegment*(vma.ClusterSize/chunk.Grain))
	data := c.Data
	for grain := first; c.Mask != 0; grain, c.Mask = grain+1, c.Mask>>1 {
		if c.Mask&1 == 0 {
			continue
		}
		b := data[:chunk.Grain]
		data = data[chunk.Grain:]
		if bytes.Equal(b, zeroBlock[:]) {
			continue // allowed, if not usual
		}
		if s == nil {
			s = &segment{drive: d, number: number}
			d.pending[number] = s
		}
		page, err := a.page()
		if err != nil {
			return err
		}
		copy(a.pages.at(page), b)
		s.blocks = append(s.blocks, block{grain, page})
	}
	if s == nil {
		return nil // zeros so far
	}
	if a.reader.Complete(c.Drive, number*perSegment, (number+1)*perSegment) {
		return a.complete(s)
	}
	a.touch(s)
	return nil
}

// touch notes that something has come of a segment.
func (a *assembler) touch(s *segment) {
	switch {
	case s.place != nil:
		a.recent.MoveToFront(s.place)
	case len(s.blocks) > 0:
		s.place = a.recent.PushFront(s)
	}
}

// untouch takes a segment from among those with blocks in memory.
func (a *assembler) untouch(s *segment) {
	if s.place != nil {
		a.recent.Remove(s.place)
		s.place = nil
	}
}

// complete gives a segment to a worker.
func (a *assembler) complete(s *segment) error {
	delete(s.drive.pending, s.number)
	a.untouch(s)
	a.pages.lend(len(s.blocks))
	select {
	case a.ready <- s:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

// page returns memory for a block. If there is none it waits for the workers,
// and if these have none to give back it puts a segment aside.
func (a *assembler) page() (uint32, error) {
	for {
		page, ok, wait := a.pages.take()
		if ok {
			return page, nil
		}
		if wait {
			select {
			case <-a.pages.back:
			case <-a.ctx.Done():
				return 0, a.ctx.Err()
			}
			continue
		}
		if err := a.putAside(a.recent.Back().Value.(*segment)); err != nil {
			return 0, err
		}
	}
}

// putAside moves the blocks of a segment from memory to the spool.
func (a *assembler) putAside(s *segment) (err error) {
	if s.spooled, err = a.spool.put(s.spooled, s.blocks, a.pages); err != nil {
		return err
	}
	a.pages.drop(s.blocks, false)
	s.blocks = nil
	a.untouch(s)
	return nil
}

// work stores complete segments until there are no more.
func (a *assembler) work() error {
	c := ingest.NewSegmentCopier(a.session, new(ingest.Progress))
	for s := range a.ready {
		if err := a.store(c, s); err != nil {
			return err
		}
	}
	return nil
}

// store cuts and stores a complete segment.
func (a *assembler) store(c *ingest.SegmentCopier, s *segment) error {
	img := &segmentImage{size: s.drive.size, start: s.number * a.size, blocks: s.sorted(), at: a.pages.at}
	img.read = func(b []block) { a.pages.drop(b, true) }
	if s.spooled.n > 0 {
		buf, err := a.load(s)
		if err != nil {
			return err
		}
		defer func() { a.loads <- buf }()
		img.blocks, img.read = s.sorted(), func([]block) {}
		img.at = func(page uint32) []byte { return buf[int(page)*chunk.Grain:][:chunk.Grain] }
	}
	return c.Copy(a.ctx, s.drive.disk, img, s.number)
}

// load brings all blocks of a segment into memory of its own, which is to be
// given back to a.loads, and frees their places in the spool and in the pages.
// In that memory a block's page has the number of its grain.
func (a *assembler) load(s *segment) (buf []byte, err error) {
	select {
	case buf = <-a.loads:
	case <-a.ctx.Done():
		return nil, a.ctx.Err()
	}
	if buf == nil {
		if buf, err = allocate(int(a.size)); err != nil {
			a.loads <- nil
			return nil, err
		}
	}
	inPages := s.blocks
	s.blocks = nil
	take := func(grain uint32, data []byte) {
		copy(buf[int(grain)*chunk.Grain:], data)
		s.blocks = append(s.blocks, block{grain, grain})
	}
	for _, b := range inPages {
		take(b.grain, a.pages.at(b.page))
	}
	a.pages.drop(inPages, true)
	sealed := make([]byte, recordSize+sealOverhead)
	for r := s.spooled; r.n > 0 && err == nil; {
		r, err = a.spool.get(r, sealed, take)
	}
	if err != nil {
		a.loads <- buf
		return nil, fmt.Errorf("segment %d: %w", s.number, err)
	}
	return buf, nil
}
