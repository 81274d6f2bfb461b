package disk

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sort"
	"sync"
	"time"

	"vaultfs/ingest"
	"vaultfs/internal/nbd"
	"vaultfs/internal/nbd/qemunbd"
)

// connections is how many requests qemu-nbd gets at once, about.
const connections = 2

// served is a chain of images as qemu-nbd shows it. The server starts when it is
// first needed.
type served struct {
	ctx     context.Context // of all the reading: the server ends with it
	options qemunbd.Options
	timeout time.Duration // longest silence; 0 is any

	once   sync.Once
	server *qemunbd.Server // nil until it is needed
	client *nbd.Client
	failed error

	mu    sync.Mutex
	known ingest.Run // what runs tells of
	runs  []ingest.Run
}

// start returns the connection to the server.
func (s *served) start() (*nbd.Client, error) {
	s.once.Do(func() { s.failed = s.serve() })
	return s.client, s.failed
}

var errStopped = errors.New("the image was closed")

// stop ends the server, and makes sure that none starts any more. The error is
// why the server had ended before.
func (s *served) stop() error {
	s.once.Do(func() { s.failed = errStopped })
	if s.client != nil {
		s.client.Close()
	}
	if s.server == nil {
		return nil
	}
	return s.server.Close()
}

func (s *served) serve() error {
	server, err := qemunbd.Start(s.ctx, s.options)
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("qemu-nbd is missing: install qemu-utils")
	}
	if err != nil {
		return err
	}
	s.server = server
	contexts := []string{nbd.ContextAllocation}
	if s.options.Bitmap != "" {
		contexts = append(contexts, nbd.ContextDirtyBitmap+s.options.Bitmap)
	}
	s.client, err = server.Dial(s.ctx, nbd.Options{Contexts: contexts, Connections: s.options.Connections, Timeout: s.timeout})
	return err
}

// stretch is how much of a disk is asked about at once, in bytes: a question
// costs as much for a hole as for all of this.
const stretch = 1 << 30

// ReadAt is that of an ingest.Image.
func (s *served) ReadAt(ctx context.Context, p []byte, off int64) error {
	client, err := s.start()
	if err != nil {
		return err
	}
	return client.ReadAt(ctx, p, off)
}

// Data is that of an ingest.Image. It answers from what is known of one stretch.
// Readers go through a disk side by side, so they mostly ask about the same one.
func (s *served) Data(ctx context.Context, off, n int64) (runs []ingest.Run, err error) {
	for end := off + n; off < end; {
		all, next, err := s.stretch(ctx, off)
		if err != nil {
			return nil, err
		}
		next = min(next, end)
		first := sort.Search(len(all), func(i int) bool { return all[i].Off+all[i].Len > off })
		for _, r := range all[first:] {
			from, to := max(r.Off, off), min(r.Off+r.Len, next)
			if from >= to {
				break
			}
			runs = append(runs, ingest.Run{Off: from, Len: to - from})
		}
		off = next
	}
	return runs, nil
}

// stretch returns the runs of the stretch that off lies in, and its end.
func (s *served) stretch(ctx context.Context, off int64) ([]ingest.Run, int64, error) {
	client, err := s.start()
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < s.known.Off || off >= s.known.Off+s.known.Len {
		start := off / stretch * stretch
		length := min(stretch, client.Size()-start)
		if length <= 0 || off >= start+length {
			return nil, 0, fmt.Errorf("QEMU sees a disk of %d bytes, which does not reach %d", client.Size(), off)
		}
		extents, err := client.Data(ctx, start, length)
		if err != nil {
			return nil, 0, err
		}
		runs := make([]ingest.Run, len(extents))
		for i, e := range extents {
			runs[i] = ingest.Run{Off: e.Offset, Len: e.Length}
		}
		s.known, s.runs = ingest.Run{Off: start, Len: length}, runs
	}
	return s.runs, s.known.Off + s.known.Len, nil
}
