package repo

import (
	"context"
	"errors"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// delete deletes what nobody can come to need: the manifests of forgotten
// snapshots, and files that were there before the publish, that the new head does
// not list and whose session had no lease. The manifests go first, so that one
// that is still there when this is interrupted is not taken for a snapshot with
// holes by a collector that sees a lease which names it.
func (c *collector) delete(ctx context.Context, r *removal) error {
	if r.survey.unreadable() != nil {
		return nil
	}
	d := &deleter{collector: c, removal: r}
	if err := d.manifests(ctx); err != nil {
		return err
	}
	if err := d.packs(ctx); err != nil {
		return err
	}
	return d.runs(ctx)
}

// A deleter deletes what a removal has made free.
type deleter struct {
	*collector
	*removal
	total int64 // bytes to delete
}

// file deletes one file, while the lease protects that.
func (d *deleter) file(ctx context.Context, o store.Info) error {
	if err := d.held(ctx); err != nil {
		return err
	}
	err := d.repo.store.Delete(ctx, o.Name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d.result.Deleted += o.Size
	d.options.Progress(GCProgress{Phase: "removing", Done: d.result.Deleted, Total: d.total})
	return nil
}

// free tells whether the files of a session may be deleted: nobody was at work
// in it. What this collector has copied is listed by now, or of no use.
func (d *deleter) free(session format.SnapshotID) bool {
	return session == d.session.id || !d.survey.atWork(session)
}

func (d *deleter) packs(ctx context.Context) error {
	if _, err := d.sync(ctx); err != nil {
		return err
	}
	listed, err := d.repo.index.Packs()
	if err != nil {
		return err
	}
	before := d.survey.view.Packs()
	files := d.survey.unlisted
	for _, i := range d.drop {
		if p := d.survey.packs[i]; p.file {
			files = append(files, store.Info{Name: packObject(before.Owner(i), before.List[i].Hash), Size: p.bytes})
		}
	}
	for _, o := range files {
		d.total += o.Size
	}
	for _, o := range files {
		session, hash, ok := parsePack(o.Name)
		if _, inForce := listed.Find(hash); !ok || inForce {
			continue
		}
		if !d.free(session) {
			continue
		}
		if err := d.file(ctx, o); err != nil {
			return err
		}
		d.result.Packs++
	}
	return nil
}

func (d *deleter) runs(ctx context.Context) error {
	h, err := d.sync(ctx)
	if err != nil {
		return err
	}
	for _, o := range d.survey.runs {
		n, err := parseRunName(o.Name)
		if err != nil || h.Has(n) {
			continue
		}
		if !d.free(n.Session) {
			continue
		}
		if err := d.file(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// manifests deletes the manifests of forgotten snapshots, and then their marks:
// who looks for the mark first and then for the manifest misses one of the two.
// A mark stays as long as a snapshot names that one as the one before it.
func (d *deleter) manifests(ctx context.Context) error {
	s := d.survey
	d.keepReadTimes(ctx)
	for _, r := range s.forgotten {
		d.total += r.file.Size
	}
	for _, r := range s.forgotten {
		if err := d.file(ctx, r.file); err != nil {
			return err
		}
		d.result.Manifests++
	}
	keep := s.tombstones()
	for id, o := range s.marked {
		if keep[id] {
			continue
		}
		if err := d.file(ctx, o); err != nil {
			return err
		}
	}
	d.tidyLedger(ctx)
	return nil
}

// tombstones are the marks that stay: of snapshots that are kept, that another one names
// as the one before it, or that a lease names, as a session does that is about to
// commit; and those that name an archive. A manifest that cannot be read may name any.
func (s *survey) tombstones() map[format.SnapshotID]bool {
	keep := map[format.SnapshotID]bool{}
	for _, r := range s.roots {
		keep[r.previous], keep[r.id] = true, true
	}
	for id, readable := range s.marks {
		if keep[id] = keep[id] || s.remembered[id] || !readable || len(s.unread) > 0; s.leased(id) {
			keep[id] = true
		}
	}
	for id := range keep {
		if _, marked := s.marks[id]; !marked || !keep[id] {
			delete(keep, id)
		}
	}
	return keep
}
