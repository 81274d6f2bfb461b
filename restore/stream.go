package restore

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
	"vaultfs/repo"
)

// maxStreamWorkers bounds how many read ahead of a stream. Each has two buffers.
const maxStreamWorkers = 8

// Stream writes a source from its beginning to its end, holes as zeros, for what
// cannot seek: a pipe, a tape, another program. Several goroutines read ahead of
// the writer, in at most 34 MiB of memory, or twice as much if all chunks are long. A write that blocks is waited for, even
// when the context ends.
//
// After an error w has got a part, and the error says how much.
func Stream(ctx context.Context, s *Source, w io.Writer, p *Progress) error {
	if p == nil {
		p = new(Progress)
	}
	g, ctx := errgroup.WithContext(ctx)
	st := newStreamer(s, p)
	g.Go(func() error { return st.plan(ctx) })
	for range st.workers {
		g.Go(func() error { return st.readAll(ctx) })
	}
	g.Go(func() error { return st.writeAll(ctx, w) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("%w; what was written is incomplete: %d of %d bytes of %s", err, st.written, s.Size(), s.item.Name)
	}
	return nil
}

// StreamItem writes one item of a snapshot to w from its beginning to its end. A
// disk is written in the format Options.Format, raw if that is "".
func StreamItem(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, it repo.Item, w io.Writer, o Options) (*Written, error) {
	format := ""
	if it.Kind == repo.ItemDisk {
		if format = o.Format; format == "" {
			format = Raw
		}
	}
	return stream(ctx, r, snap, w, o, func() (*Source, error) { return Open(ctx, r, it, format) })
}

// StreamArchive writes the VMA archive that a snapshot was made of to w, as
// qmrestore of Proxmox reads it from a pipe.
func StreamArchive(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, w io.Writer, o Options) (*Written, error) {
	return stream(ctx, r, snap, w, o, func() (*Source, error) { return Archive(ctx, r, snap) })
}

func stream(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, w io.Writer, o Options, open func() (*Source, error)) (*Written, error) {
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	release, err := Pin(ctx, r, snap)
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := open()
	if err != nil {
		return nil, err
	}
	o.Progress.Total.Add(s.data)
	if err := Stream(ctx, s, w, o.Progress); err != nil {
		return nil, err
	}
	return s.written("-"), nil
}

// A streamer reads windows of a source in any order and writes them in theirs.
type streamer struct {
	copier
	workers int
	free    chan []byte // buffers of windowSize, or of a chunk that is longer
	todo    chan *piece // to be read
	ordered chan *piece // the same, and the holes between them
	written int64       // bytes
}

// A piece is a window, and its bytes once it is ready. A hole has none.
type piece struct {
	window
	bytes []byte
	ready chan error
}

func newStreamer(s *Source, p *Progress) *streamer {
	workers := min(max(2, runtime.GOMAXPROCS(0)), maxStreamWorkers)
	buffers := 2*workers + 1
	st := &streamer{
		workers: workers,
		free:    make(chan []byte, buffers),
		todo:    make(chan *piece),
		ordered: make(chan *piece, buffers),
	}
	st.copier = copier{src: s, progress: p}
	for range buffers {
		st.free <- nil // made when it is first needed
	}
	return st
}

// plan hands the windows to who reads and to who writes.
func (st *streamer) plan(ctx context.Context) error {
	defer close(st.ordered)
	defer close(st.todo)
	return st.copier.plan(func(w window) error {
		p := &piece{window: w, ready: make(chan error, 1)}
		if w.hole {
			p.ready <- nil
			return send(ctx, st.ordered, p)
		}
		select {
		case p.bytes = <-st.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.bytes = room(p.bytes, w.space())
		if err := send(ctx, st.todo, p); err != nil {
			return err
		}
		return send(ctx, st.ordered, p)
	})
}

func send(ctx context.Context, to chan<- *piece, p *piece) error {
	select {
	case to <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readAll reads pieces. An error is told to the writer, who comes to it after
// what is before it.
func (st *streamer) readAll(ctx context.Context) error {
	for p := range st.todo {
		p.ready <- st.read(ctx, p.bytes, p.window)
	}
	return nil
}

func (st *streamer) writeAll(ctx context.Context, w io.Writer) error {
	zeros := make([]byte, 1<<20)
	put := func(b []byte) error {
		n, err := w.Write(b)
		st.written += int64(n)
		if err != nil {
			return fmt.Errorf("writing %s: %w", st.src.item.Name, err)
		}
		return nil
	}
	for p := range st.ordered {
		select {
		case err := <-p.ready:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if !p.hole {
			if err := put(p.bytes[:p.n]); err != nil {
				return err
			}
			st.progress.Done.Add(p.space())
			st.free <- p.bytes
			continue
		}
		for left := p.n; left > 0; left -= min(left, int64(len(zeros))) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := put(zeros[:min(left, int64(len(zeros)))]); err != nil {
				return err
			}
		}
	}
	return nil
}
