package measure

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"vaultfs/ingest"
	"vaultfs/repo"
)

// Endurance says how a disk is taken through an ingest's steps for long.
type Endurance struct {
	For    time.Duration // 0 until the end of the disk
	Every  time.Duration // between two moments that are told
	Place  *Place        // that packs are written to; nil for none
	Moment func(Moment)  // is told each

	done atomic.Int64 // bytes so far
}

// A Moment is how things stand after a time. Lengths are in bytes.
type Moment struct {
	After    time.Duration
	Done     int64
	Rate     float64 // a second, since the moment before
	Resident int64
}

// A Lasting is what came of it.
type Lasting struct {
	Amount
	Took     time.Duration
	Done     int64 // bytes of the disk
	Most     int64 // resident, while it ran
	Moments  []Moment
	Complete bool // the whole disk was read
	// Forgets is set if the disk may have more chunks than are remembered, so that
	// some repetitions counted as new.
	Forgets bool
}

// Run takes an image through all steps but those of a repository's structure. That
// ctx or the time ends is no error.
func (e *Endurance) Run(ctx context.Context, img ingest.Image) (*Lasting, error) {
	seen := newTable(img.Size() / Own.Size)
	r := &Lasting{Forgets: img.Size()/Own.Size > int64(len(seen.buckets))*bucketSize*3/4}
	if e.For > 0 {
		limited, stop := context.WithTimeout(ctx, e.For)
		defer stop()
		ctx = limited
	}
	begin, k := time.Now(), newKeys()
	end := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { e.watch(begin, end, r) })

	var mu sync.Mutex
	group, ctx2 := errgroup.WithContext(ctx)
	segments := segmentsOf(ctx2, img.Size())
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			l := newLine(k, seen, nil)
			if e.Place != nil {
				f, err := newFile(e.Place.Dir)
				if err != nil {
					return err
				}
				defer f.close()
				l.out = f
			}
			err := e.segments(ctx2, img, l, segments)
			mu.Lock()
			defer mu.Unlock()
			r.Chunks, r.Bytes, r.Stored = r.Chunks+l.newChunks, r.Bytes+l.newBytes, r.Stored+l.stored
			return err
		})
	}
	err := group.Wait()
	close(end)
	watching.Wait()
	r.Took, r.Done = time.Since(begin), e.done.Load()
	now, _ := Resident()
	r.Most = max(r.Most, now)
	r.Complete = err == nil && ctx.Err() == nil
	if err != nil && ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		err = nil
	}
	return r, err
}

func (e *Endurance) segments(ctx context.Context, img ingest.Image, l *line, segments <-chan int64) error {
	for i := range segments {
		start := i * repo.SegmentSize
		runs, err := img.Data(ctx, start, min(repo.SegmentSize, img.Size()-start))
		if err != nil {
			return err
		}
		if err := l.through(ctx, img, runs, true, func(n int64) { e.done.Add(n) }); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.flush(true)
}

// watch tells moments until end is closed. A moment's memory is what is resident
// just then.
func (e *Endurance) watch(begin time.Time, end <-chan struct{}, r *Lasting) {
	tick := time.NewTicker(e.Every)
	defer tick.Stop()
	sample := time.NewTicker(min(e.Every, 100*time.Millisecond))
	defer sample.Stop()
	last := Moment{}
	for {
		select {
		case <-sample.C:
			now, _ := Resident()
			r.Most = max(r.Most, now)
			continue
		case <-tick.C:
		case <-end:
			return
		}
		m := Moment{After: time.Since(begin), Done: e.done.Load()}
		m.Rate = float64(m.Done-last.Done) / (m.After - last.After).Seconds()
		m.Resident, _ = Resident()
		r.Most = max(r.Most, m.Resident)
		r.Moments, last = append(r.Moments, m), m
		e.Moment(m)
	}
}
