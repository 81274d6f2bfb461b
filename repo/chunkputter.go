package repo

import (
	"context"
	"runtime"
	"sync/atomic"

	"vaultfs/repo/format"
)

// putAhead bounds how many chunks of one stream may be put before the first of
// them is stored.
const putAhead = 16

// A chunkPutter puts the chunks of one stream while its caller goes on cutting,
// and gives them in their order. It is for large streams: one alone is hashed and
// compressed by all processors.
type chunkPutter struct {
	session *Session
	give    func(format.StreamEntry) error
	queue   []*putting // that were not given yet
}

// A putting is a chunk that is being put.
type putting struct {
	entry format.StreamEntry
	err   error
	done  chan struct{} // is closed when the two above are right; nil if they are
}

// chunkMemory is memory for one chunk and for what is made of it.
type chunkMemory struct {
	lane  Lane
	plain []byte
}

// chunkMemories are those that nobody uses now. It is no sync.Pool: the collector
// would take the memory away while it is in use every few milliseconds, and all that
// is made of it to find its size again is garbage.
var chunkMemories = make(chan *chunkMemory, 4)

func takeMemory() *chunkMemory {
	select {
	case m := <-chunkMemories:
		return m
	default:
		return new(chunkMemory)
	}
}

func (m *chunkMemory) giveBack() {
	m.lane.session = nil
	select {
	case chunkMemories <- m:
	default:
	}
}

// helpers counts the goroutines of this process that put chunks beside a caller.
var helpers atomic.Int32

// help tells whether a goroutine more may put chunks: as many do as there are
// processors, less the one that cuts. However many streams are stored at once,
// the memory in flight is that of these chunks and of one for each stream.
func help() bool {
	if int(helpers.Add(1)) <= max(1, runtime.GOMAXPROCS(0)-1) {
		return true
	}
	helpers.Add(-1)
	return false
}

// put puts the chunk that m holds, beside the caller or, where enough of that
// goes on, at once. It takes m.
func (p *chunkPutter) put(ctx context.Context, m *chunkMemory) error {
	c := &putting{entry: format.StreamEntry{Len: int64(len(m.plain))}}
	p.queue = append(p.queue, c)
	if help() {
		c.done = make(chan struct{})
		go func() {
			defer close(c.done)
			defer helpers.Add(-1)
			p.store(ctx, c, m)
		}()
	} else {
		p.store(ctx, c, m)
	}
	return p.giveReady()
}

func (p *chunkPutter) store(ctx context.Context, c *putting, m *chunkMemory) {
	m.lane.session = p.session
	if c.err = ctx.Err(); c.err == nil {
		c.entry.ID, c.err = m.lane.putStream(ctx, m.plain)
	}
	m.giveBack()
}

// giveReady gives the chunks that are stored, up to the first that is not. It
// waits for that one if too many are behind it.
func (p *chunkPutter) giveReady() error {
	for len(p.queue) > 0 {
		c := p.queue[0]
		if c.done != nil && len(p.queue) <= putAhead {
			select {
			case <-c.done:
			default:
				return nil
			}
		}
		if err := p.giveFirst(); err != nil {
			return err
		}
	}
	return nil
}

// finish gives the rest.
func (p *chunkPutter) finish() error {
	for len(p.queue) > 0 {
		if err := p.giveFirst(); err != nil {
			return err
		}
	}
	return nil
}

// giveFirst waits for the first chunk and gives it.
func (p *chunkPutter) giveFirst() error {
	c := p.queue[0]
	c.wait()
	p.queue[0] = nil
	p.queue = p.queue[1:]
	if c.err != nil {
		return c.err
	}
	return p.give(c.entry)
}

// wait returns when nothing is put any more.
func (p *chunkPutter) wait() {
	for _, c := range p.queue {
		c.wait()
	}
}

func (c *putting) wait() {
	if c.done != nil {
		<-c.done
	}
}
