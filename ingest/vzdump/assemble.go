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
	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// pageMemory is for blocks of segments that are not complete, or not stored yet,
// in bytes: nearly two whole segments, so that one comes while another is being
// stored. It is as many times as large as the repository's segments are larger
// than usual. A worker takes about 60 MB besides. Tests lower it.
var pageMemory = 112 << 20

// maxWorkers cut and store complete segments.
const maxWorkers = 2

// An assembler makes disks of clusters that come in any order, of any drive. It
// keeps blocks until their segment is complete, those that are not zeros alone,
// and then gives it to a worker that cuts and stores it. If memory runs short,
// segments that nothing has come of for the longest time go to the spool, and
// come back when they are complete.
//
// One goroutine reads the archive and has all of this but the pages, which
// workers give back while they store a segment. They need nothing for that, so
// that whoever waits for pages gets them.
type assembler struct {
	session *repo.Session
	reader  *vma.Reader
	size    int64 // of a segment, in bytes
	drives  []*drive
	pages   *pages
	spool   *spool
	recent  *list.List // segments with blocks in memory, the last touched first
	ready   chan *segment
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
	a := &assembler{session: s, reader: r, size: s.Repo().SegmentSize(), spool: newSpool(stateDir),
		recent: list.New(), ready: make(chan *segment)}
	if a.pages, err = newPages(pageMemory * int(max(1, a.size/repo.SegmentSize))); err != nil {
		return nil, err
	}
	defer a.close()
	for _, d := range r.Header().Drives {
		a.drives = append(a.drives, &drive{size: d.Size, disk: s.NewDisk(), pending: map[int64]*segment{}})
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
	_ = a.pages.close() // only a bug makes it fail
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
		if err := a.keep(s, grain, b); err != nil {
			return err
		}
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

// complete gives a segment to a worker, all of it in memory.
func (a *assembler) complete(s *segment) (err error) {
	delete(s.drive.pending, s.number)
	a.untouch(s)
	for s.spooled.n > 0 {
		s.spooled, err = a.spool.get(s.spooled, func(grain uint32, data []byte) error { return a.keep(s, grain, data) })
		if err != nil {
			return err
		}
	}
	a.pages.lend(len(s.blocks))
	select {
	case a.ready <- s:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

// keep puts a block of a segment into memory.
func (a *assembler) keep(s *segment, grain uint32, data []byte) error {
	page, err := a.page()
	if err != nil {
		return err
	}
	copy(a.pages.at(page), data)
	s.blocks = append(s.blocks, block{grain, page})
	return nil
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
		oldest := a.recent.Back()
		if oldest == nil {
			return 0, fmt.Errorf("a segment of %d bytes does not fit into the %d bytes that there are for blocks", a.size, len(a.pages.mem))
		}
		if err := a.putAside(oldest.Value.(*segment)); err != nil {
			return 0, err
		}
	}
}

// putAside moves the blocks of a segment from memory to the spool.
func (a *assembler) putAside(s *segment) (err error) {
	if s.spooled, err = a.spool.put(s.spooled, s.blocks, a.pages); err != nil {
		return err
	}
	a.pages.drop(s.blocks)
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
	img := &segmentImage{size: s.drive.size, start: s.number * a.size, blocks: s.sorted(), pages: a.pages}
	return c.Copy(a.ctx, s.drive.disk, img, s.number)
}
