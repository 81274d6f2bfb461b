package disk

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sort"
	"sync"

	"vaultfs/ingest"
	"vaultfs/internal/nbd"
	"vaultfs/internal/nbd/qemunbd"
)

// connections is how many requests qemu-nbd gets at once, about.
const connections = 2

// serve starts qemu-nbd on the image's layers and makes the content what it
// serves.
func (m *image) serve(ctx context.Context) error {
	server, err := qemunbd.Start(ctx, qemunbd.Options{Chain: m.layers, Connections: connections})
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("qemu-nbd is missing: install qemu-utils")
	}
	if err != nil {
		return err
	}
	client, err := server.Dial(ctx, nbd.Options{Contexts: []string{nbd.ContextAllocation}, Connections: connections})
	if err != nil {
		return errors.Join(err, server.Close())
	}
	m.content = &served{client: client}
	m.shut = func() {
		client.Close()
		server.Close()
	}
	if m.vmdk != nil && m.vmdk.size() != client.Size() {
		return fmt.Errorf("its extents add up to %d bytes, and QEMU sees %d", m.vmdk.size(), client.Size())
	}
	return nil
}

// A served image is read through qemu-nbd.
type served struct {
	client *nbd.Client

	mu    sync.Mutex
	known ingest.Run // what runs tells of
	runs  []ingest.Run
}

// stretch is how much of a disk is asked about at once, in bytes: a question
// costs as much for a hole as for all of this.
const stretch = 1 << 30

func (s *served) Size() int64 { return s.client.Size() }

func (s *served) ReadAt(ctx context.Context, p []byte, off int64) error {
	return s.client.ReadAt(ctx, p, off)
}

// Data answers from what is known of one stretch. Readers go through a disk
// side by side, so they mostly ask about the same one.
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < s.known.Off || off >= s.known.Off+s.known.Len {
		start := off / stretch * stretch
		extents, err := s.client.Data(ctx, start, min(stretch, s.Size()-start))
		if err != nil {
			return nil, 0, err
		}
		runs := make([]ingest.Run, len(extents))
		for i, e := range extents {
			runs[i] = ingest.Run{Off: e.Offset, Len: e.Length}
		}
		s.known, s.runs = ingest.Run{Off: start, Len: min(stretch, s.Size()-start)}, runs
	}
	return s.runs, s.known.Off + s.known.Len, nil
}
