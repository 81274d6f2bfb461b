package repo

import (
	"cmp"
	"context"
	"slices"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// A fate is what a collector means to do with a pack.
type fate uint8

const (
	stays    fate = iota
	dies          // nothing in it is needed: condemned, and removed
	moves         // what is needed of it is copied, then it dies
	waits         // condemned, but a session may rely on it
	goes          // condemned, and to be removed
	comes         // condemned, but needed: taken back
	working       // of a living session: left alone
	unproved      // missing or damaged, and needed: left listed, it may come back
)

// A planned is a plan with all that is needed to carry it out.
type planned struct {
	*GCPlan
	view  *index.View // that of the collector's needed
	packs []plannedPack
	keep  index.Bitmap // a bit for that place of each needed chunk that stays
	moves []int        // packs to rewrite, in the order in which they were written
}

// A plannedPack counts the bytes of a pack's chunks as they are stored.
type plannedPack struct {
	total, used uint32
	chunks      uint32
	kept        uint32 // chunks that stay
	fate        fate
	directories bool // it holds directory nodes
}

// makePlan finds out what is needed, and decides for each pack. A dry run holds no
// lease, so that another collector may remove what it is just looking at: when it
// misses something then, it looks once more.
func (c *collector) makePlan(ctx context.Context) error {
	for {
		epoch, err := c.planOnce(ctx)
		if err != nil || !c.options.DryRun || len(c.plan.Blocked) == 0 && c.plan.Lost == 0 {
			return err
		}
		h, err := c.repo.currentHead(ctx)
		if err != nil || h.Epoch == epoch {
			return indexLost(err)
		}
	}
}

// planOnce makes the plan, and returns the epoch of the head that it began with.
func (c *collector) planOnce(ctx context.Context) (epoch uint64, err error) {
	err = c.again(ctx, func() error {
		c.needed.close()
		s, err := c.look(ctx)
		if err != nil {
			return err
		}
		if err := c.mark(ctx, s); err != nil {
			s.view.Close()
			return err
		}
		p := &planned{GCPlan: &GCPlan{}, view: s.view, packs: make([]plannedPack, len(s.packs)), keep: s.view.NewBitmap()}
		if err := p.choosePlaces(c, s); err != nil {
			return err
		}
		p.decide(s)
		p.chooseMoves(c, s)
		p.sum(c, s)
		c.plan, c.result.Plan, epoch = p, p.GCPlan, s.head.Epoch
		return nil
	})
	return epoch, err
}

// choosePlaces chooses, for each needed chunk, the place that stays. Of several
// good ones it is that in the pack of which most is needed anyway.
func (p *planned) choosePlaces(c *collector, s *survey) error {
	several := s.view.NewBitmap()
	repeated := false
	err := s.view.Chunks(func(places []index.Entry) error {
		for _, e := range places {
			p.packs[e.Pack].total += e.Sealed
			p.packs[e.Pack].chunks++
			p.packs[e.Pack].directories = p.packs[e.Pack].directories || e.Kind == format.Directory
		}
		if !c.needed.bits.Has(places[0].Number) {
			return nil
		}
		p.Chunks++
		p.UsedBytes += int64(places[0].Sealed)
		top, at := best(s, places)
		switch {
		case top == missing:
			p.Lost++
		case top < damaged && len(at) > 1:
			repeated = true
			several.Set(places[0].Number)
			return nil
		}
		// Of a chunk that may be lost, no place is given up.
		for _, e := range at {
			p.stays(e)
		}
		return nil
	})
	if err != nil || !repeated {
		return err
	}
	return s.view.Chunks(func(places []index.Entry) error {
		if !several.Has(places[0].Number) {
			return nil
		}
		_, at := best(s, places)
		p.stays(slices.MaxFunc(at, func(a, b index.Entry) int {
			return cmp.Or(cmp.Compare(p.packs[a.Pack].used, p.packs[b.Pack].used), cmp.Compare(b.Number, a.Number))
		}))
		return nil
	})
}

func (p *planned) stays(e index.Entry) {
	p.keep.Set(e.Number)
	p.packs[e.Pack].used += e.Sealed
	p.packs[e.Pack].kept++
}

// best returns those places of a chunk that are to be relied on most.
func best(s *survey, places []index.Entry) (top grade, at []index.Entry) {
	if len(places) == 1 {
		return s.grades[places[0].Pack], places
	}
	top = missing
	for _, e := range places {
		top = min(top, s.grades[e.Pack])
	}
	for _, e := range places {
		if s.grades[e.Pack] == top {
			at = append(at, e)
		}
	}
	return top, at
}

// decide decides the fate of each pack but those that are to be rewritten.
func (p *planned) decide(s *survey) {
	list := s.view.Packs()
	living := map[format.SnapshotID]bool{}
	for _, w := range s.works {
		living[w.id] = w.Alive
	}
	for i := range p.packs {
		pack := &p.packs[i]
		epoch, isCondemned := list.Condemned(i)
		switch {
		case isCondemned && pack.used > 0:
			pack.fate = comes
		case isCondemned && s.blocker(epoch) != nil:
			pack.fate = waits
		case isCondemned:
			pack.fate = goes
		case living[list.Owner(i)]:
			pack.fate = working
		case pack.used == 0:
			pack.fate = dies
		case s.grades[i] >= damaged:
			pack.fate = unproved
		}
	}
}

// smallPacks is how many packs that are not full are put together.
const smallPacks = 8

// chooseMoves chooses the packs to rewrite: those with the largest unused share
// first, and then small ones where there are many.
func (p *planned) chooseMoves(c *collector, s *survey) {
	var partly []int
	small := map[[2]bool][]int{} // by what they hold
	list := s.view.Packs().List
	for i := range p.packs {
		pack := &p.packs[i]
		// What is condemned stays so when it is copied, instead of being taken back.
		if pack.fate != stays && (pack.fate != comes || s.grades[i] != condemned) {
			continue
		}
		switch {
		case pack.unused() > c.options.MaxUnused:
			partly = append(partly, i)
		case pack.fate == stays && pack.small(s.packs[i].bytes):
			sort := [2]bool{list[i].Kind == format.StructurePack, pack.directories}
			small[sort] = append(small[sort], i)
		}
	}
	slices.SortStableFunc(partly, func(a, b int) int { return cmp.Compare(p.packs[b].unused(), p.packs[a].unused()) })
	for _, sort := range [][2]bool{{true, false}, {false, true}, {false, false}} {
		if len(small[sort]) >= smallPacks {
			partly = append(partly, small[sort]...)
		}
	}
	for _, i := range partly {
		if c.options.MaxRewrite >= 0 && p.CopyBytes+int64(p.packs[i].used) > c.options.MaxRewrite {
			continue
		}
		p.CopyBytes += int64(p.packs[i].used)
		p.packs[i].fate = moves
		p.moves = append(p.moves, i)
	}
	slices.SortStableFunc(p.moves, func(a, b int) int { return cmp.Compare(s.packs[a].written, s.packs[b].written) })
}

// smallestFirst puts the packs of which the least is copied first. They make the
// most room for what they take.
func (p *planned) smallestFirst() {
	slices.SortStableFunc(p.moves, func(a, b int) int { return cmp.Compare(p.packs[a].used, p.packs[b].used) })
}

// small tells whether a pack, a file of so many bytes, has room for four times as
// much. One of tiny chunks is full when it is still a small file.
func (p *plannedPack) small(bytes int64) bool {
	return bytes < int64(packTarget)/4 && p.chunks < format.MaxPackEntries/4
}

// unused is the share of a pack's chunks that is not needed.
func (p *plannedPack) unused() float64 {
	if p.total == 0 {
		return 0
	}
	return float64(p.total-p.used) / float64(p.total)
}

// sum makes the plan that is shown.
func (p *planned) sum(c *collector, s *survey) {
	p.Snapshots, p.Forgotten = len(s.roots), len(s.forgotten)
	p.Lost += c.needed.lost
	p.Blocked = append(slices.Clone(s.unread), c.needed.unread...)
	p.Packs = len(p.packs)
	count := func(n *PackCount, bytes int64) {
		n.Packs++
		n.Bytes += bytes
	}
	writer := s.blocker(s.head.Epoch + 1)
	for i := range p.packs {
		pack, bytes := &p.packs[i], s.packs[i].bytes
		p.PackBytes += bytes
		switch pack.fate {
		case dies, goes, waits:
			count(&p.Dead, bytes)
		case moves:
			count(&p.Rewrite, bytes)
		case comes:
			count(&p.TakenBack, bytes)
		case stays:
			if pack.used < pack.total {
				count(&p.Kept, bytes)
				p.KeptBytes += int64(pack.total - pack.used)
			}
		}
		if pack.fate == goes || writer == nil && (pack.fate == dies || pack.fate == moves) {
			p.FreedNow += bytes + listing*int64(pack.chunks)
		}
	}
	if writer == nil {
		p.FreedNow -= p.written()
	}
	for _, o := range s.unlisted {
		session, _, _ := parsePack(o.Name)
		if !s.atWork(session) {
			count(&p.Unlisted, o.Size)
			p.FreedNow += o.Size
		}
	}
	for _, r := range s.forgotten {
		p.FreedNow += r.file.Size
	}
	p.Waiting = c.waiting(s, p)
	if len(p.Blocked) > 0 {
		p.FreedNow = p.Unlisted.Bytes
	}
}

// listing is how many bytes an index run takes for a chunk.
const listing = format.RunEntrySize

// written is about how many bytes the packs and runs take that hold the copies.
func (p *planned) written() int64 {
	if len(p.moves) == 0 {
		return 0
	}
	bytes := p.CopyBytes + packCost*(2+p.CopyBytes/int64(packTarget))
	for _, i := range p.moves {
		bytes += (footerEntry + listing) * int64(p.packs[i].kept)
	}
	return bytes
}

// of lists the packs of a fate.
func (p *planned) of(f fate) (packs []int) {
	for i := range p.packs {
		if p.packs[i].fate == f {
			packs = append(packs, i)
		}
	}
	return packs
}

// hashes are the names of packs of the plan.
func (c *collector) hashes(packs []int) []format.PackHash {
	list := c.plan.view.Packs().List
	hashes := make([]format.PackHash, len(packs))
	for i, pack := range packs {
		hashes[i] = list[pack].Hash
	}
	return hashes
}
