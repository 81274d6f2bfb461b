package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// A fact is what the model knows of a snapshot that was, or may have been,
// committed.
type fact struct {
	id      format.SnapshotID
	content map[string]content // by item
	seen    bool               // its manifest was seen in the store
	broken  bool               // its session's lease was broken before that
	// Committed and forgotten are set when Commit and Forget have returned nil:
	// from then on it is durable. Doomed is set when somebody begins to forget it.
	committed, doomed, forgotten bool
	needs                        []chunk.ID // every chunk; nil until the manifest is seen
}

// A promise is that of a lease: what the snapshots that it names need stays as
// long as it is neither given up nor broken.
type promise struct {
	owner *actor
	lease string
	facts []*fact
}

// A model is what must be true of the disk, whatever happens: it looks at the
// objects in the store, behind the back of all processes, and never uses what
// they remember.
type model struct {
	keys  *Repo // who has opened the repository with its password
	disk  *store.Mem
	store *store.Dir
	repo  *Repo

	mu       sync.Mutex
	facts    map[format.SnapshotID]*fact
	promises map[*promise]bool
	secrets  map[format.SnapshotID]seal.Key // so that none is opened twice
	runs     map[format.RunName]*format.Run
	below    map[chunk.ID][]chunk.ID // of structured chunks
	head     *format.Head
	places   map[chunk.ID][]index.Location // by the runs of head
}

func newModel(keys *Repo) *model {
	return &model{
		keys:  keys,
		facts: map[format.SnapshotID]*fact{}, promises: map[*promise]bool{}, secrets: map[format.SnapshotID]seal.Key{},
		runs: map[format.RunName]*format.Run{}, below: map[chunk.ID][]chunk.ID{},
	}
}

// use makes the model look at a disk.
func (m *model) use(disk *store.Mem) (err error) {
	m.disk, m.head, m.promises = disk, nil, map[*promise]bool{}
	if m.store, err = disk.Store(); err != nil {
		return err
	}
	m.repo, err = m.open(m.store, nil)
	return err
}

// open opens the repository as Open does, but with the keys that are known, and
// with the secrets of sessions: deriving them would take most of a history.
func (m *model) open(st *store.Dir, warn func(string)) (*Repo, error) {
	r, err := newRepo(st, m.keys.config, m.keys.secrets, m.keys.slot, OpenOptions{Warn: warn})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, secret := range m.secrets {
		r.secret[id] = secret
	}
	return r, nil
}

// learn keeps a session's secret for the processes to come.
func (m *model) learn(id format.SnapshotID, secret seal.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secrets[id] = secret
	m.repo.mu.Lock()
	defer m.repo.mu.Unlock()
	m.repo.secret[id] = secret
}

// expect says what a snapshot will hold if it is committed.
func (m *model) expect(id format.SnapshotID, content map[string]content) *fact {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &fact{id: id, content: content}
	m.facts[id] = f
	return f
}

// set changes facts.
func (m *model) set(change func(*fact), facts ...*fact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range facts {
		change(f)
	}
}

// of returns what is known of a snapshot.
func (m *model) of(id string) *fact {
	m.mu.Lock()
	defer m.mu.Unlock()
	parsed, _ := format.ParseSnapshotID(id)
	return m.facts[parsed]
}

// which are the facts for which a condition holds.
func (m *model) which(is func(*fact) bool) (list []*fact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.facts {
		if is(f) {
			list = append(list, f)
		}
	}
	return list
}

// rely notes a promise, which lasts as long as the lease.
func (m *model) rely(owner *actor, lease string, facts ...*fact) *promise {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &promise{owner, lease, facts}
	m.promises[p] = true
	return p
}

// leaseOf finds the lease of a purpose.
func (m *model) leaseOf(purpose string) string {
	sessions, err := m.repo.Sessions(context.Background())
	if err != nil {
		return ""
	}
	for _, s := range sessions {
		if s.Purpose == purpose {
			return s.ID
		}
	}
	return ""
}

// kept tells whether a promise is in force.
func (m *model) kept(p *promise) bool { return !p.owner.dead() && p.owner.process.Holds(p.lease) }

func (a *actor) dead() bool {
	a.sched.mu.Lock()
	defer a.sched.mu.Unlock()
	return a.killed || a.ended
}

// check returns what is not as it must be at any moment.
func (m *model) check() error {
	ctx := context.Background()
	if err := m.readHead(ctx); err != nil {
		return err
	}
	manifests, err := m.repo.listIDs(ctx, "snapshots/")
	if err != nil {
		return err
	}
	marks, err := m.repo.marks(ctx)
	if err != nil {
		return err
	}
	there := map[format.SnapshotID]bool{}
	for _, id := range manifests {
		there[id] = true
		if err := m.meet(ctx, id); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	relied := m.relied()
	packs := map[string]bool{}
	for id, f := range m.facts {
		switch {
		case f.committed && !f.doomed && !there[id]:
			return fmt.Errorf("snapshot %v was committed, and its manifest is gone", id)
		case !f.doomed && marks[id]:
			return fmt.Errorf("snapshot %v has a mark that nobody made", id)
		case f.forgotten && there[id] && !marks[id]:
			return fmt.Errorf("snapshot %v was forgotten, and is back", id)
		case relied[f] && !there[id]:
			return fmt.Errorf("the manifest of snapshot %v is gone, which a lease names", id)
		case there[id] && (!marks[id] || relied[f]):
			if err := m.whole(f, packs); err != nil {
				return err
			}
		}
	}
	return nil
}

// relied are the facts that a promise is in force for. The lock is held.
func (m *model) relied() map[*fact]bool {
	relied := map[*fact]bool{}
	for p := range m.promises {
		if !m.kept(p) {
			delete(m.promises, p)
			continue
		}
		for _, f := range p.facts {
			relied[f] = true
		}
	}
	return relied
}

// readHead reads the head in force and the runs that it names.
func (m *model) readHead(ctx context.Context) error {
	seqs, err := m.repo.headSeqs(ctx)
	if err != nil || len(seqs) == 0 {
		return fmt.Errorf("there is no head (%v)", err)
	}
	newest := seqs[len(seqs)-1]
	if m.head == nil || m.head.Seq != newest {
		if m.head, err = m.repo.readHead(ctx, newest); err != nil {
			return err
		}
		m.places = nil
	}
	for _, n := range m.head.Runs {
		if _, err := m.store.Size(ctx, n.Object()); err != nil {
			return fmt.Errorf("a run of head %d: %w", newest, err)
		}
	}
	if m.places != nil {
		return nil
	}
	return m.place(ctx)
}

// place notes where the runs say that chunks are.
func (m *model) place(ctx context.Context) error {
	m.places = map[chunk.ID][]index.Location{}
	removed := map[format.PackHash]bool{}
	for _, p := range m.head.Removed {
		removed[p] = true
	}
	for _, n := range m.head.Runs {
		run, err := m.run(ctx, n)
		if err != nil {
			return err
		}
		for _, e := range run.Entries {
			if pack := run.Packs[e.Pack]; !removed[pack.Hash] {
				owner := run.Sessions[pack.Session]
				m.places[e.ID] = append(m.places[e.ID], index.Location{Chunk: e.PackEntry, Ordinal: e.Ordinal, Pack: pack, Session: owner.ID, SealedSecret: owner.SealedSecret})
			}
		}
	}
	return nil
}

// run reads a run once: none ever changes.
func (m *model) run(ctx context.Context, n format.RunName) (*format.Run, error) {
	if run := m.runs[n]; run != nil {
		return run, nil
	}
	run, err := m.repo.loadRun(ctx, n)
	if err == nil {
		m.runs[n] = run
	}
	return run, err
}

// meet looks at a manifest that was not there before.
func (m *model) meet(ctx context.Context, id format.SnapshotID) error {
	m.mu.Lock()
	f := m.facts[id]
	m.mu.Unlock()
	switch {
	case f == nil:
		return fmt.Errorf("there is a snapshot %v that nobody has made", id)
	case f.seen:
		return nil
	case f.broken:
		return fmt.Errorf("snapshot %v was committed although its lease was broken", id)
	}
	f.seen = true
	manifest, err := m.repo.readManifest(ctx, id)
	if err != nil {
		return err
	}
	var todo []chunk.ID
	for _, it := range manifest.Structure.Items {
		todo = append(todo, it.Root)
	}
	known := map[chunk.ID]bool{}
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if known[next] {
			continue
		}
		known[next] = true
		f.needs = append(f.needs, next)
		children, err := m.children(ctx, next)
		if err != nil {
			return fmt.Errorf("snapshot %v, just committed: %w", id, err)
		}
		todo = append(todo, children...)
	}
	return nil
}

// children are what a chunk names.
func (m *model) children(ctx context.Context, id chunk.ID) ([]chunk.ID, error) {
	if children, ok := m.below[id]; ok {
		return children, nil
	}
	err := fmt.Errorf("chunk %v is in no run", id)
	for _, at := range m.places[id] {
		if !at.Chunk.Kind.Structured() {
			return nil, nil
		}
		var b []byte
		if b, err = m.repo.readAt(ctx, at.Chunk.Kind, at); err != nil {
			continue
		}
		_, c, _, err := format.DecodeChildren(b)
		if err != nil {
			return nil, err
		}
		m.below[id] = append(c.Structured, c.Data...)
		return m.below[id], nil
	}
	return nil, err
}

// whole returns an error unless every chunk of a snapshot is in a pack that is
// there and listed. Packs are those that were looked for before.
func (m *model) whole(f *fact, packs map[string]bool) error {
	for _, id := range f.needs {
		var why []string
		found := false
		for _, at := range m.places[id] {
			name := packObject(at.Session, at.Pack.Hash)
			there, known := packs[name]
			if !known {
				_, err := m.store.Size(context.Background(), name)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				there = err == nil
				packs[name] = there
			}
			if found = there; found {
				break
			}
			why = append(why, name+" is gone")
		}
		if !found {
			return fmt.Errorf("snapshot %v has lost chunk %v: %d places (%s)", f.id, id, len(m.places[id]), strings.Join(why, "; "))
		}
	}
	return nil
}
