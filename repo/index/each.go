package index

import "vaultfs/repo/format"

// Each calls fn for every chunk that the index places in one of the packs. It
// reads the tables that list any of them as a whole. fn does not use the index.
func (x *Index) Each(packs []format.PackHash, fn func(Location) error) error {
	wanted := map[format.PackHash]bool{}
	for _, p := range packs {
		wanted[p] = true
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, s := range append(asSources(x.tables), x.recent) {
		if err := eachIn(s, wanted, fn); err != nil {
			return err
		}
	}
	return nil
}

// eachIn is Each in one source.
func eachIn(s source, wanted map[format.PackHash]bool, fn func(Location) error) error {
	in, packs := make([]bool, s.packCount()), map[uint32]format.RunPack{}
	live := inForce(s)
	r := s.packsByHash()
	for {
		p, ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if wanted[p.Hash] && live[p.set] {
			in[p.local], packs[p.local] = true, p.RunPack
		}
	}
	if len(packs) == 0 {
		return nil
	}
	entries, err := s.entriesByID()
	if err != nil {
		return err
	}
	owners := s.owners()
	for b := entries.entry(); b != nil; b = entries.entry() {
		if in[entryPack(b)] {
			e := format.DecodeRunEntry(b)
			p := packs[e.Pack]
			secret, err := s.secret(int(p.Session))
			if err != nil {
				return err
			}
			if err := fn(Location{e.PackEntry, e.Ordinal, p, owners[p.Session], secret}); err != nil {
				return err
			}
		}
		if err := entries.next(); err != nil {
			return err
		}
	}
	return nil
}

// inForce tells for each set of a source whether it is in force.
func inForce(s source) []bool {
	live := make([]bool, len(s.sets()))
	for i, set := range s.sets() {
		live[i] = set.inForce(s.names())
	}
	return live
}
