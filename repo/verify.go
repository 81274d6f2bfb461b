package repo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"vaultfs/repo/format"
)

// VerifyOptions says what is to be proved.
type VerifyOptions struct {
	Snapshots []*Snapshot // nil: all, and all packs that are listed
	ReadData  bool        // read and rehash every chunk
	// Sample is the share of the packs' bytes that is read, from 0 to 1, and For
	// the time for which packs are read; 0 is no bound. Each implies ReadData.
	// What was not read for longest comes first, so that one run goes on where the
	// last one stopped. One pack is always read.
	Sample   float64
	For      time.Duration
	Progress func(done, total int64) // bytes of packs; may be nil
}

// A Finding is one damaged object.
type Finding struct {
	Object  string // "pack 3f2a…"
	Err     error
	Touches []Touch // what cannot be read because of it
	// Unneeded is true of a pack if it is certain that no snapshot loses anything
	// by the damage. A collection removes it.
	Unneeded bool
}

// A Touch is an item of a snapshot that lost bytes.
type Touch struct {
	Snapshot *Snapshot
	Item     string
	Bytes    int64
	// Of a tree: how many files lost bytes or are gone, and the paths of the
	// first few. A path that ends in a slash, or is ".", is that of a directory
	// of which entries are gone.
	Files int64
	Paths []string
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
	// Newer names objects that a newer version wrote, each in an error that is
	// an ErrNewerFormat. They were not looked at, nor was what only they name.
	Newer []error
	Turn  *Turn // how much of the packs has been read by now; nil without ReadData
}

// verifier is one run of Verify.
type verifier struct {
	repo    *Repo // with an index and caches of its own
	options VerifyOptions
	result  *VerifyResult
	head    *format.Head // that the index is in step with; nil if there is none
	ledger  *Ledger
	all     []*Snapshot // that can be read; with chosen ones, those

	mu       sync.Mutex
	findings map[string]*Finding
	packs    *packTable
	bad      map[format.PackHash]*badPack
	examined map[string]bool   // findings of packs of which it is known what is lost
	suspects []format.PackHash // read and damaged; which chunks are lost is not known yet
	recorder *recorder

	catching  sync.Mutex // held while the index is brought in step with a newer head
	indexLost bool       // a part of the index is gone, and that was told
	footers   bool       // what the packs say themselves was added to the index
	holes     bool       // not all structure can be read: what is below is not known
}

// Verify proves that the repository holds what it should, from the objects in
// the store alone: the local copy of the index is not looked at. It reports
// everything it finds; the error is only for what kept it from looking.
//
// Sessions, forgetting and collections may go on meanwhile: what they take away
// is no damage. With ReadData it is recorded in the ledger what was read; what
// was recorded stays when the context ends before the work is done.
func (r *Repo) Verify(ctx context.Context, o VerifyOptions) (*VerifyResult, error) {
	fresh, err := r.fresh()
	if err != nil {
		return nil, err
	}
	defer fresh.Close()
	o.ReadData = o.ReadData || o.Sample > 0 || o.For > 0
	v := &verifier{
		repo: fresh, options: o, result: &VerifyResult{}, findings: map[string]*Finding{},
		packs: newPackTable(), bad: map[format.PackHash]*badPack{}, examined: map[string]bool{},
	}
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	if fresh.index.Stale() {
		return nil, errors.New("the temporary copy of the index was damaged meanwhile")
	}
	for _, f := range v.findings {
		f.Unneeded = v.unneeded(f)
		v.result.Findings = append(v.result.Findings, *f)
	}
	slices.SortFunc(v.result.Findings, func(a, b Finding) int { return strings.Compare(a.Object, b.Object) })
	return v.result, nil
}

// fresh is the repository with nothing remembered.
func (r *Repo) fresh() (*Repo, error) {
	fresh, err := newRepo(r.store, r.config, r.secrets, r.slot, OpenOptions{})
	if err == nil {
		fresh.warn = r.warn // set now: what the store has to say was said
	}
	return fresh, err
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.checkRoots(ctx); err != nil {
		return err
	}
	// The snapshots first, then the index: what a snapshot names was in the
	// index before the snapshot was there.
	pin, err := v.pinSnapshots(ctx)
	if err != nil {
		return err
	}
	defer pin.Release(context.WithoutCancel(ctx))
	if err := v.checkIndex(ctx); err != nil {
		return err
	}
	if err := v.walk(ctx, v.all); err != nil {
		return err
	}
	if !v.options.ReadData {
		v.knownDamage()
		return nil
	}
	if err := v.readTurn(ctx); err != nil {
		return err
	}
	v.knownDamage()
	if err := v.tellOthers(ctx, pin); err != nil {
		return err
	}
	if len(v.bad) > 0 { // now it is known whom the bad chunks touch
		if err := v.walk(ctx, v.all); err != nil {
			return err
		}
	}
	return v.recordEnd(ctx)
}

// pinSnapshots finds the snapshots, and pins them. One that is forgotten in
// between is not looked at, unless it was asked for.
func (v *verifier) pinSnapshots(ctx context.Context) (*Pin, error) {
	for {
		snapshots, err := v.snapshots(ctx)
		if err != nil {
			return nil, err
		}
		v.all = snapshots
		pin, err := v.repo.Pin(ctx, "verify", snapshots...)
		if err == nil {
			return pin, nil
		}
		if pin != nil {
			_ = pin.Release(context.WithoutCancel(ctx)) // a lease that is left dies with the process
		}
		if v.options.Snapshots != nil || !errors.Is(err, ErrNotFound) || v.lostMeanwhile(ctx, snapshots) {
			return nil, err
		}
	}
}

// lostMeanwhile tells whether the snapshots are still listed as they were: then
// looking again does not help.
func (v *verifier) lostMeanwhile(ctx context.Context, before []*Snapshot) bool {
	now, _ := v.repo.Snapshots(ctx) // what cannot be read of them is told anyway
	return slices.EqualFunc(before, now, func(a, b *Snapshot) bool { return a.ID == b.ID })
}

// found notes damage, and what a newer version wrote; any other error it returns.
func (v *verifier) found(err error) error {
	var d *DamageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &d):
		v.finding(d.Object, d.Err)
	case errors.Is(err, ErrNewerFormat):
		v.mu.Lock()
		defer v.mu.Unlock()
		v.result.Newer = append(v.result.Newer, err)
	case errors.Is(err, ErrDamaged):
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

// unneeded tells whether it is certain that no snapshot loses anything by a
// finding: all that any of them names is known then.
func (v *verifier) unneeded(f *Finding) bool {
	if v.options.Snapshots != nil || v.holes || len(v.result.Newer) > 0 || len(f.Touches) > 0 || !strings.HasPrefix(f.Object, "pack ") {
		return false
	}
	for object := range v.findings {
		if strings.HasPrefix(object, "snapshot ") || strings.HasPrefix(object, "mark ") {
			return false
		}
	}
	return v.examined[f.Object]
}
