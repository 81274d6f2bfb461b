package repo

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// How much a marker holds in memory, and how many read at a time.
var (
	markData    = 1 << 19 // data chunks that wait to be looked up: 32 bytes each
	markNodes   = 1 << 16 // structured ones
	markRead    = 512     // structured chunks that are read before their children are looked up
	markWorkers = 4
)

// maxLost bounds the lost chunks that are known from each other. What is lost
// beyond may count more than once.
const maxLost = 1 << 20

// maxBlocked bounds the damage that a plan names.
const maxBlocked = 100

// needed are the chunks that snapshots need: a bit is set for each place of each of
// them in a view.
type needed struct {
	view   *index.View
	bits   index.Bitmap
	roots  map[format.SnapshotID]bool // whose chunks are marked
	lost   int64                      // data chunks that no pack holds
	unread []error                    // structured chunks that cannot be read
}

func (n *needed) close() {
	if n.view != nil {
		n.view.Close()
		n.view = nil
	}
}

// mark brings what is needed in step with a survey, whose view it takes over.
// What was marked before is carried over, so that only the chunks of new
// snapshots are looked for.
func (c *collector) mark(ctx context.Context, s *survey) error {
	next := needed{view: s.view, roots: map[format.SnapshotID]bool{}}
	n := &c.needed
	next.bits = s.view.NewBitmap()
	// A chunk that was lost may have been stored again: it has no bit yet.
	if n.view != nil && n.lost == 0 && len(n.unread) == 0 {
		bits, err := s.view.Translate(n.view, n.bits)
		switch {
		case err == nil:
			next.bits, next.roots = bits, maps.Clone(n.roots)
		case !errors.Is(err, index.ErrTable):
			return err
		}
	}
	m := &marker{collector: c, survey: s, needed: &next, lost: map[chunk.ID]bool{}}
	// All at once: growing would leave as much again behind as garbage.
	m.data = make([]chunk.ID, 0, min(markData, int(s.view.Entries())))
	for _, m.doomed = range []bool{false, true} {
		var fresh []chunk.ID
		for _, r := range s.roots {
			if r.doomed == m.doomed && !next.roots[r.id] {
				fresh = append(fresh, r.chunks...)
			}
		}
		if err := m.run(ctx, fresh); err != nil {
			return err
		}
	}
	for _, r := range s.roots {
		next.roots[r.id] = true
	}
	if c.plan == nil || c.plan.view != n.view { // which copying still needs
		n.close()
	}
	*n = next
	return nil
}

// A marker goes through what snapshots need, by the child lists alone, and reads
// each structured chunk once.
type marker struct {
	*collector
	survey *survey
	needed *needed

	// doomed is set for snapshots that were forgotten and that a lease names, or may
	// name. What such a lease protects is there; when a chunk is not, an earlier
	// collector has removed it and ended before it came to the manifest, and the
	// lease protects nothing. So that is no damage.
	doomed bool

	nodes []index.Entry // structured chunks that are marked and not read yet
	read  int64         // bytes

	mu         sync.Mutex
	structured []chunk.ID // that wait to be looked up
	data       []chunk.ID
	lost       map[chunk.ID]bool
}

// run marks the chunks and all that they name.
func (m *marker) run(ctx context.Context, roots []chunk.ID) error {
	m.structured = slices.Clone(roots)
	for {
		if err := m.markStructured(); err != nil {
			return err
		}
		if len(m.nodes) == 0 {
			return m.markData()
		}
		if err := m.readNodes(ctx); err != nil {
			return err
		}
	}
}

// markStructured marks the structured chunks that wait. Those that were not
// marked before are to be read.
func (m *marker) markStructured() error {
	ids := sorted(m.structured)
	m.structured = m.structured[:0]
	last, fresh := -1, false
	found := make([]bool, len(ids))
	err := m.needed.view.Find(ids, func(at int, e index.Entry) error {
		if at != last {
			last, fresh = at, !m.needed.bits.Has(e.Number)
			if fresh {
				m.nodes = append(m.nodes, e)
			}
		} else if fresh {
			if of := &m.nodes[len(m.nodes)-1]; m.survey.grades[e.Pack] < m.survey.grades[of.Pack] {
				*of = e
			}
		}
		found[at] = true
		m.needed.bits.Set(e.Number)
		return nil
	})
	if err != nil {
		return err
	}
	for i, ok := range found {
		if !ok && !m.doomed {
			m.blocked(&DamageError{"chunk " + ids[i].String()[:16], errors.New("no pack holds it")})
		}
	}
	return nil
}

// markData marks the data chunks that wait.
func (m *marker) markData() error {
	ids := sorted(m.data)
	m.data = m.data[:0]
	next := 0
	lost := func(until int) {
		for ; next < until; next++ {
			if id := ids[next]; !m.doomed && !m.lost[id] {
				m.needed.lost++
				if len(m.lost) < maxLost {
					m.lost[id] = true
				}
			}
		}
	}
	err := m.needed.view.Find(ids, func(at int, e index.Entry) error {
		lost(at)
		next = at + 1
		m.needed.bits.Set(e.Number)
		return nil
	})
	if err == nil {
		lost(len(ids))
	}
	return err
}

// sorted sorts IDs in place and leaves each once.
func sorted(ids []chunk.ID) []chunk.ID {
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// readNodes reads the structured chunks that were marked last, until enough
// children wait: going down before going on keeps what waits small.
func (m *marker) readNodes(ctx context.Context) error {
	for len(m.nodes) > 0 && len(m.structured) < markNodes {
		cut := max(0, len(m.nodes)-markRead)
		batch := m.nodes[cut:]
		slices.SortFunc(batch, func(a, b index.Entry) int {
			return cmp.Or(cmp.Compare(a.Pack, b.Pack), cmp.Compare(a.Offset, b.Offset))
		})
		g, ctx := errgroup.WithContext(ctx)
		for part := range slices.Chunk(batch, max(1, (len(batch)+workers(markWorkers)-1)/workers(markWorkers))) {
			g.Go(func() error {
				for _, e := range part {
					if err := m.readNode(ctx, e); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		m.nodes = m.nodes[:cut]
		m.options.Progress(GCProgress{Phase: "marking", Done: m.read})
	}
	return nil
}

func workers(most int) int { return min(runtime.GOMAXPROCS(0), most) }

// readNode reads a structured chunk and notes its children.
func (m *marker) readNode(ctx context.Context, e index.Entry) error {
	b, err := m.readAnywhere(ctx, e)
	var children format.Children
	if err == nil {
		_, children, _, err = format.DecodeChildren(b)
		err = damage("chunk "+e.ID.String()[:16], err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if !isDamage(err) && !errors.Is(err, ErrNewerFormat) {
			return err
		}
		m.blocked(err)
		return nil
	}
	m.read += int64(len(b))
	m.structured = append(m.structured, children.Structured...)
	for data := children.Data; len(data) > 0; {
		n := min(len(data), max(1, markData-len(m.data)))
		m.data, data = append(m.data, data[:n]...), data[n:]
		if len(m.data) >= markData {
			if err := m.markData(); err != nil {
				return err
			}
		}
	}
	return nil
}

// readAnywhere reads a chunk from that place, or from any other that gives it.
// What turns out to be damaged is not relied on any more.
func (m *marker) readAnywhere(ctx context.Context, e index.Entry) ([]byte, error) {
	at, err := m.needed.view.Location(e)
	if err != nil {
		return nil, err
	}
	b, err := m.repo.readAt(ctx, e.Kind, at)
	if err == nil || !isDamage(err) {
		return b, err
	}
	errs := []error{err}
	m.foundDamage(ctx, at)
	for _, other := range m.repo.index.Lookup(e.ID) {
		if other.Pack.Hash == at.Pack.Hash && other.Ordinal == at.Ordinal {
			continue
		}
		if b, err = m.repo.readAt(ctx, other.Chunk.Kind, other); err == nil {
			return b, nil
		}
		if !isDamage(err) {
			return nil, err
		}
		errs = append(errs, err)
		m.foundDamage(ctx, other)
	}
	return nil, errors.Join(errs...)
}

// foundDamage notes that a pack which is there is damaged.
func (m *marker) foundDamage(ctx context.Context, at index.Location) {
	if _, err := m.repo.store.Size(ctx, packObject(at.Session, at.Pack.Hash)); err != nil {
		return // missing, which the survey sees
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.damaged, at.Pack.Hash) {
		m.damaged = append(m.damaged, at.Pack.Hash)
		m.survey.noteDamage(at.Pack.Hash)
	}
}

// blocked notes why nothing may be removed.
func (m *marker) blocked(err error) {
	if len(m.needed.unread) < maxBlocked {
		m.needed.unread = append(m.needed.unread, err)
	}
}
