package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// RepairOptions says how to repair.
type RepairOptions struct {
	// DryRun finds out what is damaged and what is lost with it, and changes
	// nothing but what every verification does: the head is told of the damage.
	DryRun bool
	// Known takes the head's word for which packs are damaged, and looks only
	// whether all packs are there. Otherwise every pack is read.
	Known bool
	// From is another repository from which what is lost may be taken: a copy of
	// this one, or one that holds the same sources; nil for none.
	From *Repo
	// Progress is told of bytes, or of none where they are not what counts. It may
	// be nil.
	Progress func(phase string, done, total int64)
}

// A RepairResult is what a repair found and did.
type RepairResult struct {
	Before   []Finding // as Verify found it
	Index    bool      // the index was made anew
	SetAside []string  // objects that were moved to quarantine/, under the names they had
	PutBack  []string  // objects that were taken from a copy of the repository as they are
	Dropped  int       // packs that are missing, and of which no snapshot needs anything
	Saved    int64     // chunks that were copied out of packs that were set aside
	Healed   int64     // chunks that were lost and were taken from From
	// Snapshots cannot be read, and are lost.
	Snapshots []LostSnapshot
	// Losses are what cannot be read of the others, file by file.
	Losses []Loss
	After  []Finding // what Verify finds now; of a dry run the same as Before
}

// Whole tells whether nothing is damaged and nothing was lost.
func (r *RepairResult) Whole() bool {
	return len(r.After) == 0 && len(r.Losses) == 0 && len(r.Snapshots) == 0
}

// A LostSnapshot is one whose manifest cannot be read.
type LostSnapshot struct {
	ID     string
	Source string // "" if that cannot be read either
	Err    error
}

// Purposes of the leases of a repair. The first is held from its beginning to
// its end, the second while it stores.
const (
	purposeSetAside = "repair"
	purposeStore    = "repair, storing"
)

// quarantine is where objects go that are set aside.
const quarantine = "quarantine/"

// ErrSameRepository says that a repository was to be healed from itself.
var ErrSameRepository = errors.New("that is the same repository")

// Repair sets damaged packs and unreadable manifests aside, after all that is
// good in them was copied, takes from another repository what it can, and says
// what is lost. Nothing is deleted. Sessions, readers and collectors go on
// meanwhile; only where the index has to be made anew it is ErrInUse while
// anybody writes. It is ErrInUse beside another repair.
//
// It can be interrupted at any moment, and called again: it goes on from there.
func (r *Repo) Repair(ctx context.Context, o RepairOptions) (*RepairResult, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	fresh, err := r.fresh()
	if err != nil {
		return nil, err
	}
	defer fresh.Close()
	fresh.warn = r.warn
	p := &repair{repo: fresh, options: o, result: &RepairResult{}}
	if err := p.find(ctx); err != nil {
		return nil, err
	}
	if !o.DryRun {
		if err := p.mend(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.tell(ctx); err != nil {
		return nil, err
	}
	return p.result, nil
}

// A repair is one run of Repair.
type repair struct {
	repo    *Repo // with an index and caches of its own
	options RepairOptions
	result  *RepairResult
	lease   *store.Lease // purposeSetAside; nil in a dry run

	suspects []suspect
	places   *suspectPlaces
	clean    map[chunk.ID]struct{} // structured chunks below which nothing is lost
}

// count tells how far something has come that is not measured in bytes.
func (p *repair) count(what string, i, n int) {
	p.options.Progress(fmt.Sprintf("%s %d of %d", what, min(i+1, n), n), 0, 0)
}

// mend changes what has to be changed. First the index, without which nothing
// is found; then whole objects; then packs; then what is lost of their content.
func (p *repair) mend(ctx context.Context) (err error) {
	if err := p.mendIndex(ctx); err != nil {
		return err
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.lease.Release(context.WithoutCancel(ctx))) }()
	for _, step := range []func(context.Context) error{
		p.mendManifests, p.mendMarks, p.mendLedger, p.mendStrays,
		p.takePacks, p.setPacksAside, p.heal, p.dropMissing, p.clearSetAside,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mendIndex makes the index anew if any of it cannot be read.
func (p *repair) mendIndex(ctx context.Context) error {
	lost := p.repo.rebuilt || slices.ContainsFunc(p.result.Before, func(f Finding) bool {
		return f.Object == "index" || strings.HasPrefix(f.Object, "index run ") || strings.HasPrefix(f.Object, "head/")
	})
	if !lost {
		return nil
	}
	err := p.repo.RebuildIndexTelling(ctx, func(done, total int64) { p.count("making the index anew: pack", int(done), int(total)) })
	if err != nil {
		return fmt.Errorf("making the index anew: %w", err)
	}
	p.result.Index = true
	return p.findSuspects(ctx) // it lists others now
}

// begin opens the lease under which everything is published. It names nothing,
// and blocks no collector.
func (p *repair) begin(ctx context.Context) error {
	r := p.repo
	if err := r.clearDead(ctx); err != nil {
		return err
	}
	h, err := r.currentHead(ctx)
	if err == nil {
		err = format.CheckFeatures("writing", h.Write)
	}
	if err != nil {
		return err
	}
	id := newSnapshotID()
	p.lease, err = r.openLease(ctx, id, format.Lease{Kind: format.GCLease, Epoch: h.Epoch, Purpose: purposeSetAside})
	if err != nil {
		return err
	}
	other, err := r.rival(ctx, id.String(), purposeSetAside)
	if err == nil && other != nil && other.Kind != "unknown" {
		err = fmt.Errorf("%w: it is being repaired by process %d on %s since %s", ErrInUse, other.PID, other.Host, other.Since.Format("15:04:05"))
	}
	if err == nil {
		err = r.refresh(ctx)
	}
	if err != nil {
		return errors.Join(err, p.lease.Release(context.WithoutCancel(ctx)))
	}
	return nil
}

// aside moves an object to quarantine/. One that is gone was removed by somebody
// else, who had a right to it. If there is one of that name already, from an
// earlier repair, it gets a number.
func (p *repair) aside(ctx context.Context, name string) error {
	if err := p.lease.Held(ctx); err != nil {
		return err
	}
	to := quarantine + name
	err := p.repo.store.Move(ctx, name, to)
	for n := 2; errors.Is(err, store.ErrExists); n++ {
		err = p.repo.store.Move(ctx, name, fmt.Sprintf("%s.%d", to, n))
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("setting aside: %w", err)
	}
	p.result.SetAside = append(p.result.SetAside, name)
	return nil
}

// publish edits the head as a collector does: its epoch rises, so that a
// collector who is about to decide looks again.
func (p *repair) publish(ctx context.Context, edit func(*format.Head) bool) error {
	_, err := p.repo.publish(ctx, p.lease.Held, func(h *format.Head) bool {
		changed := edit(h)
		if changed {
			h.Epoch++
		}
		return changed
	})
	if err != nil {
		return err
	}
	return p.repo.refresh(ctx)
}
