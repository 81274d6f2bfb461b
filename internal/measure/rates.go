package measure

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// The steps of an ingest, and of reading back. A rate is in bytes of the disk's
// data that come through the step in a second, also where the step handles only
// what is left of them, so that rates can be compared.
const (
	Read     = "read"
	Cut      = "cut"
	Hash     = "hash"
	Compress = "compress"
	Seal     = "seal"
	Write    = "write"
	All      = "all of it" // from reading to writing
	Decode   = "decode"    // open, decompress and hash again, as all reading does
)

// A Rate is how fast a step is, in bytes a second.
type Rate struct {
	Step     string
	One, All float64 // on one core, and on all
}

// Rates are those of a machine with a disk's data.
type Rates struct {
	Cores  int
	Data   int64 // bytes of the disk
	Sample int64 // bytes of these that stayed in memory for the steps
	// Cached is the share of the image's files that lay in the page cache when they
	// were read, and -1 where that is not known.
	Cached float64
	Place  *Place // nil if nothing was written
	Steps  []Rate
	Limit  string // the step that an ingest waits for most
}

// Of returns the rate of a step, or nil.
func (r *Rates) Of(step string) *Rate {
	for i := range r.Steps {
		if r.Steps[i].Step == step {
			return &r.Steps[i]
		}
	}
	return nil
}

// stepTime is how long each step is measured at least, on one core and on all.
// Tests lower it.
var stepTime = 300 * time.Millisecond

// Measure finds the rates with the data of an image, of which files are what its
// bytes come from. A nil place leaves writing out. When ctx ends it returns what it
// has until then, beside the error.
func Measure(ctx context.Context, img ingest.Image, files []string, place *Place) (*Rates, error) {
	r := &Rates{Cores: runtime.GOMAXPROCS(0), Cached: -1, Place: place}
	data, err := ingest.DataBytes(ctx, img)
	if err != nil {
		return r, err
	}
	r.Data = data
	list, err := spread(ctx, img, data)
	if err != nil || len(list) == 0 {
		return r, err
	}
	m := &measurement{Rates: r, ctx: ctx, img: img, files: files, pieces: list, keys: newKeys()}
	for _, step := range []func() error{m.read, m.load, m.cut, m.hash, m.compress, m.seal, m.write, m.all, m.decode} {
		if err := step(); err != nil {
			return r, err
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
	}
	r.Limit = r.limit()
	return r, nil
}

// limit is the slowest of reading, writing and computing; of computing the step
// that takes most.
func (r *Rates) limit() string {
	slowest, time, most := "", 0.0, 0.0
	for _, step := range []string{Cut, Hash, Compress, Seal} {
		if s := r.Of(step); s != nil && s.All > 0 {
			time += 1 / s.All
			if 1/s.All > most {
				slowest, most = step, 1/s.All
			}
		}
	}
	for _, step := range []string{Read, Write} {
		if s := r.Of(step); s != nil && s.All > 0 && 1/s.All > time {
			slowest, time = step, 1/s.All
		}
	}
	return slowest
}

// A measurement is one call of Measure.
type measurement struct {
	*Rates
	ctx    context.Context
	img    ingest.Image
	files  []string
	pieces []piece
	keys   keys

	loaded [][]byte // the beginnings of the pieces
	chunks []sampleChunk
	box    *seal.Box
}

// A sampleChunk is one of the sample in all of its forms.
type sampleChunk struct {
	plain   []byte
	id      chunk.ID
	payload []byte
	sealed  []byte
}

// timed lets workers do units in turn, all of them again and again, and returns
// how many bytes a second they did. Each unit returns its bytes.
func (m *measurement) timed(workers, units int, once bool, start func() func(unit int) (int64, error)) (rate float64, err error) {
	var next, done atomic.Int64
	begin := time.Now()
	group, ctx := errgroup.WithContext(m.ctx)
	for range workers {
		group.Go(func() error {
			do := start()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= units && (once || time.Since(begin) >= stepTime) {
					return nil
				}
				n, err := do(i % units)
				if err != nil {
					return err
				}
				done.Add(n)
			}
			return ctx.Err()
		})
	}
	err = group.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), err
}

// step measures one step on one core and on all.
func (m *measurement) step(name string, units int, start func() func(unit int) (int64, error)) (err error) {
	r := Rate{Step: name}
	if r.One, err = m.timed(1, units, false, start); err != nil {
		return err
	}
	if r.All = r.One; m.Cores > 1 {
		if r.All, err = m.timed(m.Cores, units, false, start); err != nil {
			return err
		}
	}
	m.Steps = append(m.Steps, r)
	return nil
}

// eachChunk measures a step of which each worker has memory of its own.
func (m *measurement) eachChunk(name string, do func(c *sampleChunk, buf []byte) ([]byte, error)) error {
	return m.step(name, len(m.chunks), func() func(int) (int64, error) {
		var buf []byte
		return func(i int) (_ int64, err error) {
			c := &m.chunks[i]
			buf, err = do(c, buf[:0])
			return int64(len(c.plain)), err
		}
	})
}

// read reads all pieces once with one reader and once with one for each core,
// cold if that can be had.
func (m *measurement) read() (err error) {
	r := Rate{Step: Read}
	start := func() func(int) (int64, error) {
		buf := make([]byte, windowSize)
		return func(i int) (int64, error) { return m.pieces[i].bytes(), m.pieces[i].read(m.ctx, m.img, buf) }
	}
	m.Cached = drop(m.files)
	if r.One, err = m.timed(1, len(m.pieces), true, start); err != nil {
		return err
	}
	m.Cached = max(m.Cached, drop(m.files))
	r.All, err = m.timed(m.Cores, len(m.pieces), true, start)
	m.Steps = append(m.Steps, r)
	return err
}

// load takes the sample into memory.
func (m *measurement) load() error {
	for _, p := range m.pieces {
		b, err := p.load(m.ctx, m.img)
		if err != nil {
			return err
		}
		m.loaded = append(m.loaded, b)
		m.Sample += int64(len(b))
	}
	return nil
}

func (m *measurement) cut() error {
	cutter := chunk.NewDisk(m.keys.cutting)
	cut := func(p []byte, chunk func([]byte)) {
		for len(p) > 0 {
			zeros, n := cutter.Next(p, true)
			if p = p[zeros:]; n > 0 {
				chunk(p[:n])
			}
			p = p[n:]
		}
	}
	for _, p := range m.loaded {
		cut(p, func(plain []byte) { m.chunks = append(m.chunks, sampleChunk{plain: plain}) })
	}
	return m.step(Cut, len(m.loaded), func() func(int) (int64, error) {
		return func(i int) (int64, error) {
			cut(m.loaded[i], func([]byte) {})
			return int64(len(m.loaded[i])), nil
		}
	})
}

func (m *measurement) hash() error {
	namer := chunk.NewNamer(m.keys.naming)
	for i := range m.chunks {
		m.chunks[i].id = namer.Name(m.chunks[i].plain)
	}
	return m.some(func() error {
		return m.eachChunk(Hash, func(c *sampleChunk, buf []byte) ([]byte, error) {
			namer.Name(c.plain)
			return buf, nil
		})
	})
}

// some runs a step unless the sample holds nothing but zeros.
func (m *measurement) some(step func() error) error {
	if len(m.chunks) == 0 {
		return nil
	}
	return step()
}

func (m *measurement) compress() error {
	var buf []byte
	for i := range m.chunks {
		buf = format.Payload(buf[:0], m.chunks[i].plain)
		m.chunks[i].payload = bytes.Clone(buf)
	}
	return m.some(func() error {
		return m.eachChunk(Compress, func(c *sampleChunk, buf []byte) ([]byte, error) {
			return format.Payload(buf, c.plain), nil
		})
	})
}

// seal seals each time under the same nonce, which is no harm: nothing is kept.
func (m *measurement) seal() error {
	m.box = seal.NewBox(m.keys.sealing)
	for i := range m.chunks {
		c := &m.chunks[i]
		c.sealed = m.box.Seal(nil, uint64(i), c.id[:], c.payload)
	}
	return m.some(func() error {
		return m.eachChunk(Seal, func(c *sampleChunk, buf []byte) ([]byte, error) {
			return m.box.Seal(buf, 1<<40, c.id[:], c.payload), nil
		})
	})
}

// write writes the sealed chunks into packs, each worker into a file of its own.
func (m *measurement) write() error {
	if m.Place == nil || len(m.chunks) == 0 {
		return nil
	}
	return m.onOneAndAll(Write, m.writeWith)
}

// onOneAndAll adds the rate of a step with one worker, and with one on each core.
func (m *measurement) onOneAndAll(step string, with func(workers int) (float64, error)) error {
	r := Rate{Step: step}
	for _, workers := range []int{1, m.Cores} {
		rate, err := with(workers)
		if err != nil {
			return err
		}
		if r.All = rate; workers == 1 {
			r.One = rate
		}
	}
	m.Steps = append(m.Steps, r)
	return nil
}

// writeWith writes what the sample takes four times.
func (m *measurement) writeWith(workers int) (rate float64, err error) {
	const rounds = 4
	var next, done atomic.Int64
	group, ctx := errgroup.WithContext(m.ctx)
	begin := time.Now()
	for range workers {
		group.Go(func() error {
			f, err := newFile(m.Place.Dir)
			if err != nil {
				return err
			}
			defer f.close()
			var out []byte
			for packed := 0; ctx.Err() == nil; {
				i := int(next.Add(1)) - 1
				if i >= rounds*len(m.chunks) {
					return f.write(out, true)
				}
				c := &m.chunks[i%len(m.chunks)]
				out, packed = append(out, c.sealed...), packed+len(c.sealed)
				done.Add(int64(len(c.plain)))
				if ends := packed >= packSize; ends || len(out) >= outSize {
					if err := f.write(out, ends); err != nil {
						return err
					}
					if out = out[:0]; ends {
						packed = 0
					}
				}
			}
			return ctx.Err()
		})
	}
	err = group.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), err
}

// all takes the pieces through everything. On all cores reading goes on beside.
func (m *measurement) all() error {
	return m.onOneAndAll(All, func(workers int) (float64, error) {
		m.Cached = max(m.Cached, drop(m.files))
		return m.allWith(workers)
	})
}

func (m *measurement) allWith(workers int) (rate float64, err error) {
	var next, done atomic.Int64
	group, ctx := errgroup.WithContext(m.ctx)
	begin := time.Now()
	for range workers {
		group.Go(func() error {
			l := newLine(m.keys, nil, nil)
			if m.Place != nil {
				f, err := newFile(m.Place.Dir)
				if err != nil {
					return err
				}
				defer f.close()
				l.out = f
			}
			for i := next.Add(1) - 1; i < int64(len(m.pieces)); i = next.Add(1) - 1 {
				if err := l.through(ctx, m.img, m.pieces[i], workers > 1, func(n int64) { done.Add(n) }); err != nil {
					return err
				}
			}
			return l.flush(true)
		})
	}
	err = group.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), err
}

// errDifferent would be a defect of this program or of the machine's memory.
var errDifferent = errors.New("a chunk does not come back as it was: this machine's memory, or this program, is at fault")

func (m *measurement) decode() error {
	namer := chunk.NewNamer(m.keys.naming)
	return m.some(func() error {
		return m.step(Decode, len(m.chunks), func() func(int) (int64, error) {
			var payload, plain []byte
			return func(i int) (_ int64, err error) {
				c := &m.chunks[i]
				if payload, err = m.box.Open(payload[:0], uint64(i), c.id[:], c.sealed); err != nil {
					return 0, err
				}
				if plain, err = format.OpenPayload(plain, payload, len(c.plain)); err != nil {
					return 0, err
				}
				if namer.Name(plain) != c.id {
					return 0, errDifferent
				}
				return int64(len(plain)), nil
			}
		})
	})
}
