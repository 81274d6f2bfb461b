package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// VerifyOptions says what is to be proved.
type VerifyOptions struct {
	Snapshots []*Snapshot             // nil: all, and all packs that are listed
	ReadData  bool                    // read and rehash every chunk
	Progress  func(done, total int64) // bytes of packs; may be nil
}

// A Finding is one damaged object.
type Finding struct {
	Object  string // "pack 3f2a…"
	Err     error
	Touches []Touch // what cannot be read because of it
}

// A Touch is an item of a snapshot that lost bytes.
type Touch struct {
	Snapshot *Snapshot
	Item     string
	Bytes    int64
}

// A VerifyResult says what was proved and what was found.
type VerifyResult struct {
	Snapshots int
	Items     int
	Chunks    int64 // that were read and rehashed
	Packs     int   // present with the right length; read wholly with ReadData
	Bytes     int64 // of those packs
	Unlisted  int   // packs that no run lists: left by interrupted sessions
	Findings  []Finding
}

// verifier is one run of Verify.
type verifier struct {
	repo    *Repo // with an index and caches of its own
	options VerifyOptions
	result  *VerifyResult

	mu       sync.Mutex
	findings map[string]*Finding
	present  map[format.PackHash]int64 // sizes of the packs that are there
	listed   map[format.PackHash]format.RunPack
	sessions map[format.PackHash]format.SnapshotID
	used     map[format.PackHash]bool // by the chosen snapshots
	bad      map[chunk.ID]map[format.PackHash]error
	proved   map[format.PackHash]bool // read wholly, and good

	indexLost bool // a part of the index is gone, and that was told
	footers   bool // what the packs say themselves was added to the index
}

// Verify proves that the repository holds what it should, from the objects in
// the store alone: the local copy of the index is not looked at. It reports
// everything it finds; the error is only for what kept it from looking.
func (r *Repo) Verify(ctx context.Context, o VerifyOptions) (*VerifyResult, error) {
	fresh, err := r.fresh()
	if err != nil {
		return nil, err
	}
	defer fresh.Close()
	v := &verifier{
		repo: fresh, options: o, result: &VerifyResult{}, findings: map[string]*Finding{},
		present: map[format.PackHash]int64{}, listed: map[format.PackHash]format.RunPack{},
		sessions: map[format.PackHash]format.SnapshotID{}, used: map[format.PackHash]bool{},
		bad: map[chunk.ID]map[format.PackHash]error{}, proved: map[format.PackHash]bool{},
	}
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	if fresh.index.Stale() {
		return nil, errors.New("the temporary copy of the index was damaged meanwhile")
	}
	for _, f := range v.findings {
		v.result.Findings = append(v.result.Findings, *f)
	}
	slices.SortFunc(v.result.Findings, func(a, b Finding) int { return strings.Compare(a.Object, b.Object) })
	return v.result, nil
}

// fresh is the repository with nothing remembered.
func (r *Repo) fresh() (*Repo, error) {
	return newRepo(r.store, r.config, r.secrets, r.slot, OpenOptions{})
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.checkRoots(ctx); err != nil {
		return err
	}
	// The snapshots first, then the index: what a snapshot names was in the
	// index before the snapshot was there.
	snapshots, err := v.snapshots(ctx)
	if err != nil {
		return err
	}
	pin, err := v.repo.Pin(ctx, "verify", snapshots...)
	if err != nil {
		return err
	}
	defer pin.Release(context.WithoutCancel(ctx))
	if err := v.checkIndex(ctx); err != nil {
		return err
	}
	if err := v.walk(ctx, snapshots); err != nil {
		return err
	}
	if !v.options.ReadData {
		return nil
	}
	if err := v.readPacks(ctx); err != nil {
		return err
	}
	if err := v.tellOthers(ctx, pin); err != nil {
		return err
	}
	if len(v.bad) == 0 {
		return nil
	}
	return v.walk(ctx, snapshots) // now it is known whom the bad chunks touch
}

// found notes damage; any other error it returns.
func (v *verifier) found(err error) error {
	var d *DamageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &d):
		v.finding(d.Object, d.Err)
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrNewerFormat):
		v.finding("repository", err)
	default:
		return err
	}
	return nil
}

func (v *verifier) finding(object string, err error) *Finding {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.findings[object]
	if f == nil {
		f = &Finding{Object: object, Err: err}
		v.findings[object] = f
	}
	return f
}

// checkRoots looks at what opens the repository: config, slots and heads.
func (v *verifier) checkRoots(ctx context.Context) error {
	raw, err := v.repo.store.Get(ctx, configObject, format.MaxConfigSize)
	if err == nil {
		_, err = format.DecodeConfig(raw)
	}
	if err := v.found(damage("config", err)); err != nil {
		return err
	}
	_, bad, err := readSlots(ctx, v.repo.store)
	if err != nil {
		return err
	}
	_, err = v.repo.Keys(ctx)
	for _, err := range append(bad, split(err)...) {
		if err := v.found(err); err != nil {
			return err
		}
	}
	seqs, err := v.repo.headSeqs(ctx)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		if _, err := v.repo.readHead(ctx, seq); err != nil && !errors.Is(err, store.ErrNotFound) {
			if err := v.found(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// split takes a joined error apart.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// checkIndex loads the repository's runs, and compares the packs that they
// list with those that are there.
func (v *verifier) checkIndex(ctx context.Context) error {
	h, err := v.repo.currentHead(ctx)
	if errors.Is(err, errNoHead) {
		err = &DamageError{"index", errors.New("there is no head; `vaultfs repair index` makes a new one")}
	}
	if h == nil {
		if err := v.found(err); err != nil {
			return err
		}
		v.repo.frozen, v.indexLost = true, true
		if err := v.readFooters(ctx); err != nil {
			return err
		}
		return v.listPresent(ctx)
	}
	h, err = v.syncIndex(ctx, h)
	if h == nil {
		return err
	}
	v.repo.frozen = true // stay with this head
	for _, err := range split(err) {
		v.indexLost = true
		if err := v.found(err); err != nil {
			return err
		}
	}
	for _, p := range h.Removed {
		delete(v.listed, p)
	}
	for _, p := range h.Damaged {
		if _, ok := v.listed[p]; ok && !v.options.ReadData {
			v.finding(packLabel(p), errors.New("an earlier verify found damage in it; with --read-data it is said what is lost"))
		}
	}
	if err := v.listPresent(ctx); err != nil {
		return err
	}
	return v.comparePacks()
}

// syncIndex loads the runs of a head. While it does, a session may merge runs:
// then it begins again with the newer head.
func (v *verifier) syncIndex(ctx context.Context, h *format.Head) (*format.Head, error) {
	for {
		err := v.repo.index.Sync(h, func(n format.RunName) (*format.Run, error) {
			run, err := v.repo.loadRun(ctx, n)
			if err != nil {
				return nil, err
			}
			for _, p := range run.Packs {
				v.listed[p.Hash], v.sessions[p.Hash] = p, run.Sessions[p.Session].ID
			}
			return run, nil
		})
		if err == nil {
			return h, nil
		}
		now, headErr := v.repo.currentHead(ctx)
		if headErr != nil || now.Seq == h.Seq {
			return h, err
		}
		h = now
	}
}

// readFooters adds to the index what the packs themselves say. It is done once,
// when the index is found wanting.
func (v *verifier) readFooters(ctx context.Context) error {
	if v.footers {
		return nil
	}
	v.footers = true
	return v.repo.eachFooterRun(ctx, v.found, func(run *format.Run) error {
		return v.repo.index.Add(pseudoRun(), run)
	})
}

// listPresent lists the packs that are there.
func (v *verifier) listPresent(ctx context.Context) error {
	return v.repo.store.List(ctx, "packs", func(i store.Info) error {
		parts := strings.Split(i.Name, "/")
		hash, err := format.ParsePackHash(parts[len(parts)-1])
		if err != nil || len(parts) != 3 {
			v.finding(i.Name, errors.New("not the name of a pack"))
			return nil
		}
		if s, ok := v.sessions[hash]; ok && s.String() != parts[1] {
			v.finding(i.Name, fmt.Errorf("it belongs to session %v", s))
			return nil
		}
		v.present[hash] = i.Size
		if _, ok := v.listed[hash]; !ok {
			v.result.Unlisted++
		}
		return nil
	})
}

func (v *verifier) comparePacks() error {
	for hash, p := range v.listed {
		switch size, ok := v.present[hash]; {
		case !ok:
			v.finding(packLabel(hash), errors.New("missing"))
		case size != int64(p.Size):
			v.finding(packLabel(hash), fmt.Errorf("%d bytes, want %d", size, p.Size))
		default:
			if v.options.ReadData || v.options.Snapshots != nil {
				continue
			}
			v.result.Packs++
			v.result.Bytes += size
		}
	}
	return nil
}

// snapshots returns the chosen snapshots, or all that can be read.
func (v *verifier) snapshots(ctx context.Context) ([]*Snapshot, error) {
	if v.options.Snapshots != nil {
		for _, s := range v.options.Snapshots {
			id, err := format.ParseSnapshotID(s.ID)
			if err != nil {
				return nil, err
			}
			if _, err := v.repo.manifest(ctx, id); err != nil {
				if err := v.found(damage("snapshot "+s.ID, err)); err != nil {
					return nil, err
				}
			}
		}
		return v.options.Snapshots, nil
	}
	all, err := v.repo.Snapshots(ctx)
	for _, err := range split(err) {
		if err := v.found(err); err != nil {
			return nil, err
		}
	}
	v.findGaps(all)
	return all, nil
}

// findGaps reports the snapshots that others name as the one before them and
// that are not there.
func (v *verifier) findGaps(all []*Snapshot) {
	have := map[string]bool{}
	for _, s := range all {
		have[s.ID] = true
	}
	for _, s := range all {
		object := "snapshot " + s.Previous
		if _, told := v.findings[object]; s.Previous == "" || have[s.Previous] || told {
			continue
		}
		v.finding(object, fmt.Errorf("missing; %s of %s names it as the one before", s.Short(), s.Source))
	}
}

// walk goes through the structure of the snapshots and notes what is lost.
func (v *verifier) walk(ctx context.Context, snapshots []*Snapshot) error {
	v.result.Snapshots, v.result.Items = 0, 0
	for _, f := range v.findings {
		f.Touches = nil
	}
	w := &walker{repo: v.repo, seen: map[chunk.ID]loss{}, data: v.chunk}
	for _, s := range snapshots {
		v.result.Snapshots++
		for _, it := range s.Items {
			v.result.Items++
			lost, err := w.item(ctx, it)
			if err != nil {
				return fmt.Errorf("snapshot %s: %w", s.Short(), err)
			}
			for object, l := range lost {
				f := v.finding(object, l.err)
				f.Touches = append(f.Touches, Touch{s, it.Name, l.bytes})
			}
		}
	}
	for _, f := range v.findings {
		slices.SortFunc(f.Touches, func(a, b Touch) int {
			return cmp.Or(a.Snapshot.Time.Compare(b.Snapshot.Time), strings.Compare(a.Item, b.Item))
		})
	}
	return nil
}

// chunk finds out whether a chunk has a good place, as far as is known.
func (v *verifier) chunk(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	places, err := v.places(ctx, id)
	if err != nil {
		return err
	}
	lost := error(&DamageError{"chunk " + id.String()[:16], errors.New("no pack holds it")})
	for _, at := range places {
		hash := at.Pack.Hash
		size, present := v.present[hash]
		switch bad := v.bad[id][hash]; {
		case !present:
			lost = &DamageError{packLabel(hash), errors.New("missing")}
		case size < int64(at.Chunk.Offset)+int64(at.Chunk.Sealed):
			lost = &DamageError{packLabel(hash), errors.New("cut off")}
		case at.Chunk.Kind != k || (plain >= 0 && int64(at.Chunk.Plain) != plain):
			lost = &DamageError{packLabel(hash), fmt.Errorf("chunk %v is not what its map says", id)}
		case bad != nil:
			lost = &DamageError{packLabel(hash), bad}
		default:
			v.use(hash, at)
			return nil
		}
		v.use(hash, at)
	}
	return lost
}

// places looks a chunk up. One that no run lists may be in a pack all the same.
func (v *verifier) places(ctx context.Context, id chunk.ID) ([]index.Location, error) {
	places := v.repo.index.Lookup(id)
	if len(places) > 0 || v.footers {
		return places, nil
	}
	if err := v.readFooters(ctx); err != nil {
		return nil, err
	}
	if places = v.repo.index.Lookup(id); len(places) > 0 && !v.indexLost {
		v.finding("index", errors.New("it does not list all that the snapshots need; `vaultfs repair index` makes a new one"))
	}
	return places, nil
}

func (v *verifier) use(hash format.PackHash, at index.Location) {
	v.used[hash] = true
	v.sessions[hash] = at.Session
	if _, ok := v.listed[hash]; !ok {
		v.listed[hash] = at.Pack
	}
}

// verifyWorkers bounds how many packs are in memory at a time.
const verifyWorkers = 4

// readPacks reads every pack that matters wholly.
func (v *verifier) readPacks(ctx context.Context) error {
	var packs []format.PackHash
	var total, done int64
	for hash := range v.listed {
		if size, ok := v.present[hash]; ok && (v.options.Snapshots == nil || v.used[hash]) {
			packs, total = append(packs, hash), total+size
		}
	}
	slices.SortFunc(packs, func(a, b format.PackHash) int { return strings.Compare(string(a[:]), string(b[:])) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), verifyWorkers))
	for _, hash := range packs {
		g.Go(func() error {
			if err := v.readPack(ctx, hash); err != nil {
				return err
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			done += v.present[hash]
			v.result.Packs++
			v.result.Bytes += v.present[hash]
			if v.options.Progress != nil {
				v.options.Progress(done, total)
			}
			return nil
		})
	}
	return g.Wait()
}

// readPack proves a pack. In a damaged one it finds out which chunks are lost.
func (v *verifier) readPack(ctx context.Context, hash format.PackHash) error {
	b, err := v.readWhole(ctx, hash)
	if b == nil {
		return err
	}
	entries, err := v.repo.checkPack(hash, b)
	if err == nil {
		err = v.compareEntries(hash, entries)
	}
	v.mu.Lock()
	v.result.Chunks += int64(len(entries))
	if err == nil {
		v.proved[hash] = true
	}
	v.mu.Unlock()
	if err == nil {
		return nil
	}
	v.finding(packLabel(hash), err)
	if b, err = v.readWhole(ctx, hash); b == nil { // checkPack has used the first up
		return err
	}
	return v.findBad(hash, b)
}

// readWhole reads a pack; one that cannot be read is a finding.
func (v *verifier) readWhole(ctx context.Context, hash format.PackHash) ([]byte, error) {
	b, err := v.repo.store.GetCold(ctx, packObject(v.sessions[hash], hash), format.MaxPackSize, nil)
	return b, v.found(damage(packLabel(hash), err))
}

// compareEntries checks that the index says of a pack what its footer says.
func (v *verifier) compareEntries(hash format.PackHash, entries []format.PackEntry) error {
	for i, e := range entries {
		if !slices.ContainsFunc(v.repo.index.Lookup(e.ID), func(l index.Location) bool {
			return l.Pack.Hash == hash && l.Chunk == e && l.Ordinal == uint32(i)
		}) {
			return fmt.Errorf("%w: the index does not list its chunk %v; `vaultfs repair index` makes a new one", ErrDamaged, e.ID)
		}
	}
	return nil
}
