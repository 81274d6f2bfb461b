package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// rest is what must be true when everything is quiet. Some snapshots more, or
// all of them, are forgotten then, which must leave nothing behind either.
func (w *world) rest() error {
	if err := w.quiet(); err != nil {
		return err
	}
	r, err := w.model.open(w.model.store, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	all, err := r.Snapshots(background)
	if err != nil {
		return err
	}
	if w.rng.IntN(2) == 0 {
		all = all[:w.rng.IntN(len(all)+1)]
	}
	for _, s := range all {
		w.model.set(func(f *fact) { f.doomed = true }, w.model.of(s.ID))
	}
	if err := r.Forget(background, ForgotByPolicy, all...); err != nil {
		return err
	}
	w.sched.remark("rest", "forgets %d more", len(all))
	if err := w.quiet(); err != nil {
		return fmt.Errorf("after forgetting %d more: %w", len(all), err)
	}
	return nil
}

// quiet collects with nobody at work, and demands that everything is there and
// has its reason.
func (w *world) quiet() error {
	m := w.model
	if err := m.check(); err != nil {
		return err
	}
	res, err := m.collect()
	if err != nil {
		return err
	}
	w.sched.remark("rest", "collected: %+v", res.Plan)
	if err := m.check(); err != nil {
		return fmt.Errorf("after the last collection: %w", err)
	}
	if err := m.explain(); err != nil {
		return fmt.Errorf("after the last collection: %w", err)
	}
	if err := m.settle(); err != nil {
		return err
	}
	return m.readAll(w.rng.IntN(8) == 0)
}

// settle demands that there is nothing left to do. Copies may be small packs, of
// which there are now so many that the next collection puts them together.
func (m *model) settle() error {
	var changes string
	for range 3 {
		before, err := m.names()
		if err == nil {
			_, err = m.collect()
		}
		if err != nil {
			return err
		}
		after, err := m.names()
		if err != nil || maps.Equal(before, after) {
			return err
		}
		changes = difference(before, after)
	}
	return fmt.Errorf("every collection finds something to do: %s", changes)
}

// collect collects all that can be.
func (m *model) collect() (*GCResult, error) {
	r, err := m.open(m.store, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	res, err := r.GC(background, GCOptions{MaxRewrite: -1})
	switch {
	case err != nil:
		err = fmt.Errorf("the last collection: %w", err)
	case len(res.Plan.Blocked) > 0:
		err = fmt.Errorf("the last collection is blocked: %w", errors.Join(res.Plan.Blocked...))
	case len(res.Waiting) > 0 || res.Unfinished != "":
		err = fmt.Errorf("the last collection waits for %+v, unfinished %q", res.Waiting, res.Unfinished)
	}
	return res, err
}

// names are the objects whose being there does not depend on how often somebody
// published.
func (m *model) names() (map[string]bool, error) {
	names := map[string]bool{}
	err := m.store.List(context.Background(), "", func(o store.Info) error {
		if !strings.HasPrefix(o.Name, "head/") {
			names[o.Name] = true
		}
		return nil
	})
	return names, err
}

func difference(before, after map[string]bool) string {
	var b strings.Builder
	for name := range before {
		if !after[name] {
			fmt.Fprintf(&b, "%s is gone; ", name)
		}
	}
	for name := range after {
		if !before[name] {
			fmt.Fprintf(&b, "%s is new; ", name)
		}
	}
	return b.String()
}

// explain returns the objects that nothing explains.
func (m *model) explain() error {
	names, err := m.names()
	if err != nil {
		return err
	}
	leases, err := m.store.Leases(background)
	if err != nil || len(leases) > 0 {
		return fmt.Errorf("there are %d leases (%v)", len(leases), err)
	}
	if err := m.readHead(background); err != nil {
		return err
	}
	expected := map[string]bool{}
	if err := m.explainPacks(expected); err != nil {
		return err
	}
	if err := m.explainSnapshots(names, expected); err != nil {
		return err
	}
	for name := range names {
		kind, _, _ := strings.Cut(name, "/")
		if !expected[name] && !slices.Contains([]string{"config", "keys", "ledger"}, kind) {
			return fmt.Errorf("nothing explains %s", name)
		}
	}
	for name := range expected {
		if !names[name] {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

// explainPacks expects the runs that the head names, and the packs that are
// listed and not removed; and that all in these is needed, and is there once.
func (m *model) explainPacks(expected map[string]bool) error {
	if n := len(m.head.Condemned); n > 0 {
		return fmt.Errorf("%d packs are condemned", n)
	}
	mentioned := map[format.PackHash]bool{}
	for _, name := range m.head.Runs {
		expected[name.Object()] = true
		for _, p := range m.runs[name].Packs {
			mentioned[p.Hash] = true
		}
	}
	for _, p := range m.head.Removed {
		if !mentioned[p] {
			return fmt.Errorf("%s is noted as removed, and no run mentions it", packLabel(p))
		}
	}
	needed := map[chunk.ID]bool{}
	for _, f := range m.which(func(f *fact) bool { return f.seen && !f.forgotten }) {
		if _, err := m.store.Size(background, snapshotObject(f.id)); err == nil {
			for _, id := range f.needs {
				needed[id] = true
			}
		}
	}
	for id, places := range m.places {
		if !needed[id] {
			return fmt.Errorf("chunk %v in %s is not needed", id, packLabel(places[0].Pack.Hash))
		}
		if len(places) > 1 {
			return fmt.Errorf("chunk %v is stored in %d places", id, len(places))
		}
		expected[packObject(places[0].Session, places[0].Pack.Hash)] = true
	}
	return nil
}

// explainSnapshots expects the manifests of snapshots that were not forgotten,
// and marks that stand in for one in the chain of a source.
func (m *model) explainSnapshots(names, expected map[string]bool) error {
	for name := range names {
		id, ok := strings.CutPrefix(name, "snapshots/")
		if !ok {
			continue
		}
		f := m.of(id)
		if f == nil || f.forgotten {
			return fmt.Errorf("snapshot %s is left, which was forgotten", id)
		}
		expected[name] = true
		manifest, err := m.repo.manifest(background, f.id)
		if err != nil {
			return err
		}
		if mark := forgottenObject(manifest.Structure.Previous); names[mark] {
			expected[mark] = true
		}
	}
	return nil
}

// readAll reads every snapshot that was not forgotten.
func (m *model) readAll(verify bool) error {
	r, err := m.open(m.store, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	all, err := r.Snapshots(background)
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := sameContent(r, s, m.of(s.ID).content); err != nil {
			return fmt.Errorf("in the end, reading snapshot %s: %w", s.ID, err)
		}
	}
	if !verify {
		return nil
	}
	res, err := r.Verify(background, VerifyOptions{ReadData: true})
	if err == nil && len(res.Findings) > 0 {
		err = fmt.Errorf("in the end verify finds %v, and %d packs unlisted", res.Findings, res.Unlisted)
	}
	return err
}
