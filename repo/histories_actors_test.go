package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// A content is what an item holds, in numbers of a small pool of chunks, so that
// most of what a session stores is there already, or is just being removed.
type content struct {
	kind     string
	parts    []int    // of a stream, one after the other, or of a tree, a file each
	segments [2][]int // of a disk: each grain on its own
}

// poolPart and poolGrain are the bytes of a chunk.
func poolPart(n int) []byte  { return fmt.Appendf(nil, "part number %d", n) }
func poolGrain(n int) []byte { return bytes.Repeat([]byte{byte(n + 1)}, chunk.Grain) }

// grainGap is the distance of a disk's grains, in bytes.
const grainGap = 1 << 20

// A person is who works in a process: what he does next is drawn.
type person struct {
	*actor
	world *world
	rng   *rand.Rand
	repo  *Repo
}

// hire starts a process that does some jobs, one after the other.
func (w *world) hire() {
	w.hired++
	rng := rand.New(rand.NewPCG(w.rng.Uint64(), 7))
	job := w.plan.draw(rng)
	jobs := 1 + rng.IntN(3)
	w.sched.start(fmt.Sprintf("%s-%d", job.name, w.hired), w.disk, func(a *actor) {
		p := &person{actor: a, world: w, rng: rng}
		if err := p.open(); err != nil {
			p.judge("open", err)
			return
		}
		for range jobs {
			a.remark("begins")
			err := job.do(p)
			a.remark("ends: %v", err)
			if !p.judge(job.name, err) {
				return
			}
		}
		p.repo.Close()
	})
}

func (p *person) open() error {
	st, err := p.process.Store()
	if err != nil {
		return err
	}
	p.repo, err = p.world.model.open(st, func(s string) { p.remark("warning: %s", s) })
	return err
}

// judge tells whether the process goes on after an error. One that nothing that
// was done to it explains fails the history.
func (p *person) judge(what string, err error) bool {
	switch {
	case errors.Is(err, errWrongBytes): // which nothing excuses
	case errors.Is(err, store.ErrKilled):
		return false
	case err == nil:
		return true
	case p.broken:
		return false // it may have found anything missing
	}
	p.world.fail(fmt.Errorf("%s of %s: %w", what, p.name, err))
	return false
}

var background = context.Background()

// backUp makes a snapshot, gives it up or goes away in the middle of it.
func (p *person) backUp() error {
	o := SessionOptions{Source: fmt.Sprintf("vm/%d", p.rng.IntN(p.world.plan.sources)), Kind: "vm", Machine: "m"}
	all, err := p.list()
	if err != nil {
		return err
	}
	if len(all) > 0 && p.rng.IntN(3) > 0 {
		o.Base = all[p.rng.IntN(len(all))]
	}
	s, err := p.repo.NewSession(background, o)
	if errors.Is(err, ErrSourceBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	m := p.world.model
	m.learn(s.id, s.secret)
	holds := map[string]content{}
	f := m.expect(s.id, holds)
	if !p.process.Holds(s.ID()) {
		m.set(func(f *fact) { f.broken = true }, f)
	}
	p.remark("session %v, base %v, %v", s.id, s.base.snapshot != nil, s.base.err)
	if s.base.snapshot != nil {
		m.rely(p.actor, s.ID(), m.of(o.Base.ID))
	}
	if err := p.fill(s, holds); err != nil {
		return errors.Join(err, s.Abort(background))
	}
	switch p.rng.IntN(8) {
	case 0:
		return s.Abort(background)
	case 1:
		p.remark("goes away")
		p.sched.kill(p.actor)
		return errors.Join(store.ErrKilled, s.Abort(background)) // which waits for its goroutines
	}
	if _, err := s.Commit(background, Info{}); err != nil {
		return errors.Join(err, s.Abort(background))
	}
	m.set(func(f *fact) { f.committed = true }, f)
	p.remark("committed %v", s.id)
	return nil
}

// fill puts items into a session.
func (p *person) fill(s *Session, holds map[string]content) error {
	for i := range 1 + p.rng.IntN(3) {
		name := fmt.Sprint("item", i)
		var err error
		switch {
		case i == 0 && (s.base.snapshot != nil || p.rng.IntN(3) == 0):
			name = "vda"
			holds[name], err = p.addDisk(s, name)
		case p.rng.IntN(3) == 0:
			holds[name], err = p.addTree(s, name)
		default:
			holds[name], err = p.addStream(s, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// some draws chunks of the pool, each once.
func (p *person) some(least, most int) []int {
	all := p.rng.Perm(p.world.plan.pool)
	return all[:min(len(all), least+p.rng.IntN(most-least+1))]
}

func (p *person) addStream(s *Session, name string) (content, error) {
	c := content{kind: ItemFile, parts: p.some(1, 3)}
	w := s.NewFileWriter()
	tree := w.streamTree(background)
	size := int64(0)
	for _, n := range c.parts {
		id, err := w.putChunk(background, poolPart(n))
		if err == nil {
			err = tree.add(0, format.StreamEntry{Len: int64(len(poolPart(n))), ID: id})
		}
		if err != nil {
			return c, err
		}
		size += int64(len(poolPart(n)))
	}
	root, err := tree.finish()
	if err != nil {
		return c, err
	}
	return c, s.AddItem(Item{Name: name, Kind: ItemFile, Size: size, Root: root})
}

func (p *person) addTree(s *Session, name string) (content, error) {
	c := content{kind: ItemTree, parts: p.some(0, 3)}
	slices.Sort(c.parts)
	w, dir := s.NewFileWriter(), s.NewDir()
	for _, n := range c.parts {
		id, err := w.putChunk(background, poolPart(n))
		if err == nil {
			err = dir.Add(background, &Entry{Name: fmt.Sprintf("%03d", n), Mode: format.TypeRegular | 0o644, Links: 1,
				Content: Content{Kind: format.ChunkContent, ID: id, Size: int64(len(poolPart(n)))}})
		}
		if err != nil {
			return c, err
		}
	}
	root := &Entry{Mode: format.TypeDirectory | 0o755}
	if err := dir.Finish(background, root); err != nil {
		return c, err
	}
	_, err := s.AddTree(background, name, root)
	return c, err
}

// addDisk takes over what it can from the base, a segment at a time, and stores
// the rest.
func (p *person) addDisk(s *Session, name string) (content, error) {
	c := content{kind: ItemDisk}
	var old content
	base, err := s.OpenBase(background, name)
	if err == nil {
		old = p.world.model.of(s.base.snapshot.ID).content[name]
	} else if isDamage(err) {
		return c, err
	}
	w, lane := s.NewDisk(), s.Lane()
	for i := range c.segments {
		if base != nil && p.rng.IntN(4) > 0 {
			c.segments[i] = old.segments[i]
			if err := w.Inherit(base, int64(i)); err != nil {
				return c, err
			}
			continue
		}
		c.segments[i] = p.some(0, 2)
		var m SegmentMap
		for k, n := range c.segments[i] {
			id, err := lane.Put(background, poolGrain(n))
			if err != nil {
				return c, err
			}
			m = append(m, Extent{Off: int64(k) * grainGap, Len: chunk.Grain, ID: id})
		}
		if err := w.SetSegment(background, lane, int64(i), m); err != nil {
			return c, err
		}
	}
	size := int64(len(c.segments)) * p.repo.SegmentSize()
	root, err := w.Finish(background, lane, size)
	if err != nil {
		return c, err
	}
	return c, s.AddItem(Item{Name: name, Kind: ItemDisk, Size: size, Root: root})
}

// list lists the snapshots, and demands that those are listed that were there
// all the while, and none that was forgotten before.
func (p *person) list() ([]*Snapshot, error) {
	m := p.world.model
	before := m.which(func(f *fact) bool { return f.committed })
	gone := map[*fact]bool{}
	for _, f := range m.which(func(f *fact) bool { return f.forgotten }) {
		gone[f] = true
	}
	all, err := p.repo.Snapshots(background)
	if err != nil {
		return nil, err
	}
	listed := map[*fact]bool{}
	for _, s := range all {
		f := m.of(s.ID)
		if f == nil || gone[f] {
			return nil, fmt.Errorf("snapshot %s is listed, which is none (%v)", s.ID, f)
		}
		listed[f] = true
	}
	for _, f := range before {
		if m.is(f, func(f *fact) bool { return !f.doomed }) && !listed[f] {
			return nil, fmt.Errorf("snapshot %v is not listed", f.id)
		}
	}
	return all, nil
}

// is tells whether a condition holds for a fact.
func (m *model) is(f *fact, holds func(*fact) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return holds(f)
}

// forget forgets some snapshots.
func (p *person) forget() error {
	all, err := p.list()
	if err != nil || len(all) == 0 {
		return err
	}
	p.rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	all = all[:min(len(all), 1+p.rng.IntN(p.world.plan.forgets))]
	m := p.world.model
	var facts []*fact
	for _, s := range all {
		p.remark("forgets %s", s.ID)
		facts = append(facts, m.of(s.ID))
	}
	m.set(func(f *fact) { f.doomed = true }, facts...)
	if err := p.repo.Forget(background, ForgotByName, all...); err != nil {
		return err
	}
	m.set(func(f *fact) { f.forgotten = true }, facts...)
	return nil
}

// read pins some snapshots, some of them later, as a mount does, and reads them:
// as long as the lease is not broken every byte must be there.
func (p *person) read() (err error) {
	all, err := p.list()
	if err != nil || len(all) == 0 {
		return err
	}
	p.rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	all = all[:min(len(all), 1+p.rng.IntN(3))]
	first := 1 + p.rng.IntN(len(all))
	purpose := "mount " + p.name
	pin, err := p.repo.Pin(background, purpose, all[:first]...)
	defer func() { err = errors.Join(err, pin.Release(background)) }()
	if err := p.pinned(purpose, all[:first], all[:first], err); err != nil {
		return p.forgottenMeanwhile(err)
	}
	if err := p.readThem(all[:first]); err != nil || first == len(all) {
		return err
	}
	if err := p.pinned(purpose, all, all[first:], pin.Add(background, all[first:]...)); err != nil {
		return p.forgottenMeanwhile(err)
	}
	if err := p.readThem(all); err != nil {
		return err
	}
	if err := p.pinned(purpose, all[first:], nil, pin.Remove(background, all[:first]...)); err != nil {
		return err
	}
	return p.readThem(all[first:])
}

// errForgotten says that what was to be pinned was forgotten meanwhile.
var errForgotten = errors.New("forgotten meanwhile")

func (p *person) forgottenMeanwhile(err error) error {
	if errors.Is(err, errForgotten) {
		return nil
	}
	return err
}

// pinned notes what the lease of that purpose names, after fresh was added to it.
func (p *person) pinned(purpose string, all, fresh []*Snapshot, err error) error {
	m := p.world.model
	var facts []*fact
	for _, s := range all {
		facts = append(facts, m.of(s.ID))
	}
	if errors.Is(err, ErrNotFound) && slices.ContainsFunc(fresh, func(s *Snapshot) bool {
		return m.is(m.of(s.ID), func(f *fact) bool { return f.doomed })
	}) {
		return errForgotten
	}
	if err == nil {
		m.rely(p.actor, m.leaseOf(purpose), facts...)
	}
	return err
}

func (p *person) readThem(all []*Snapshot) error {
	for _, s := range all {
		p.remark("reads %s", s.ID)
		if err := sameContent(p.repo, s, p.world.model.of(s.ID).content); err != nil {
			return fmt.Errorf("reading snapshot %s: %w", s.ID, err)
		}
	}
	return nil
}

// verify proves what is there; nothing is ever damaged.
func (p *person) verify() error {
	res, err := p.repo.Verify(background, VerifyOptions{ReadData: true})
	if err == nil && len(res.Findings) > 0 {
		err = fmt.Errorf("verify finds %s: %w, and %d more", res.Findings[0].Object, res.Findings[0].Err, len(res.Findings)-1)
	}
	return err
}

// collect is a collection of any kind.
func (p *person) collect() error {
	o := GCOptions{MaxUnused: []float64{0, DefaultMaxUnused, 0.5}[p.rng.IntN(3)], MaxRewrite: -1}
	switch p.rng.IntN(8) {
	case 0:
		o.DryRun = true
	case 1:
		o.Alone = true
	case 2:
		o.MaxRewrite = int64(p.rng.IntN(2000))
	}
	res, err := p.repo.GC(background, o)
	if o.Alone && errors.Is(err, ErrInUse) {
		return nil
	}
	if err == nil && len(res.Plan.Blocked) > 0 {
		err = fmt.Errorf("the collection says it is blocked: %w", errors.Join(res.Plan.Blocked...))
	}
	if err == nil && res.Plan.Lost > 0 {
		err = fmt.Errorf("the collection says that %d chunks are lost", res.Plan.Lost)
	}
	return err
}

// sameContent compares all of a snapshot with what was put in.
func sameContent(r *Repo, s *Snapshot, want map[string]content) error {
	if len(s.Items) != len(want) {
		return fmt.Errorf("%d items, want %d", len(s.Items), len(want))
	}
	for _, it := range s.Items {
		c, ok := want[it.Name]
		if !ok || c.kind != it.Kind {
			return fmt.Errorf("item %s, a %s: want a %q", it.Name, it.Kind, c.kind)
		}
		if err := c.same(r, it); err != nil {
			return fmt.Errorf("%s: %w", it.Name, err)
		}
	}
	return nil
}

func (c content) same(r *Repo, it Item) error {
	switch c.kind {
	case ItemDisk:
		return c.sameDisk(r, it)
	case ItemTree:
		return c.sameTree(r, it)
	}
	f, err := r.OpenFile(background, it)
	if err != nil {
		return err
	}
	var want []byte
	for _, n := range c.parts {
		want = append(want, poolPart(n)...)
	}
	return sameFile(f, want)
}

func sameFile(f *File, want []byte) error {
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err == nil && !bytes.Equal(got, want) {
		err = errWrongBytes
	}
	return err
}

var errWrongBytes = errors.New("other bytes than were put in")

func (c content) sameDisk(r *Repo, it Item) error {
	d, err := r.OpenDisk(background, it)
	if err != nil {
		return err
	}
	for i, grains := range c.segments {
		for k := range 2 {
			want := make([]byte, chunk.Grain)
			if k < len(grains) {
				want = poolGrain(grains[k])
			}
			got := make([]byte, chunk.Grain)
			if _, err := d.ReadAt(got, int64(i)*r.SegmentSize()+int64(k)*grainGap); err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return errWrongBytes
			}
		}
	}
	return nil
}

func (c content) sameTree(r *Repo, it Item) error {
	t, err := r.OpenTree(background, it)
	if err != nil {
		return err
	}
	n := 0
	for e, err := range t.Entries(background, t.Root(), "") {
		if err != nil {
			return err
		}
		if n == len(c.parts) {
			return errWrongBytes
		}
		f, err := t.Open(background, e)
		if err != nil {
			return err
		}
		if err := sameFile(f, poolPart(c.parts[n])); err != nil {
			return err
		}
		n++
	}
	if n != len(c.parts) {
		return errWrongBytes
	}
	return nil
}
