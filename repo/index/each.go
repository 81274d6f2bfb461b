package index

import (
	"slices"

	"vaultfs/repo/format"
)

// Each calls fn for every chunk that the index places in one of the packs. It
// reads the tables that list any of them as a whole. fn does not use the index.
func (x *Index) Each(packs []format.PackHash, fn func(Location) error) error {
	wanted := map[format.PackHash]bool{}
	for _, p := range packs {
		wanted[p] = true
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	sources := []source{x.recent.source()}
	for _, t := range x.tables {
		sources = append(sources, t.source())
	}
	for _, s := range sources {
		if err := s.each(wanted, fn); err != nil {
			return err
		}
	}
	return nil
}

// each is Each in one source.
func (s *source) each(wanted map[format.PackHash]bool, fn func(Location) error) error {
	in := make([]bool, len(s.packs))
	for i, p := range s.packs {
		in[i] = wanted[p.Hash]
	}
	if len(in) > 0 && !slices.Contains(in, true) { // without any, next may tell why
		return nil
	}
	for {
		e, ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		if !in[e.Pack] {
			continue
		}
		p := s.packs[e.Pack]
		session := s.sessions[p.Session]
		if err := fn(Location{e.PackEntry, e.Ordinal, p, session.ID, session.SealedSecret}); err != nil {
			return err
		}
	}
}
