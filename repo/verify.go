package repo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
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
