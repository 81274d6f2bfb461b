package ingest

import (
	"context"

	"vaultfs/repo"
)

// A SegmentCopier cuts and stores single segments of disks: for sources whose
// disks do not come in order. It is not for concurrent use; a session may have a
// few, each of which holds about 30 MB.
type SegmentCopier struct{ c *segmentCopier }

// NewSegmentCopier returns a copier that counts what it does in p.
func NewSegmentCopier(s *repo.Session, p *Progress) *SegmentCopier {
	return &SegmentCopier{newSegmentCopier(s, nil, p)}
}

// Copy stores segment i of an image as that of a disk. It reads each run of data
// of the segment once.
func (c *SegmentCopier) Copy(ctx context.Context, w *repo.DiskWriter, img Image, i int64) error {
	c.c.img = img
	return c.c.copyTo(ctx, w, nil, i)
}
