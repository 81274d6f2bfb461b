package index

import "vaultfs/repo/format"

// Each calls fn for every chunk that the index places in one pack. It reads
// the whole index.
func (x *Index) Each(pack format.PackHash, fn func(ordinal uint32, e format.PackEntry, h format.PackHeader, sealedSecret []byte) error) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	sources := []source{x.recent.source()}
	for _, t := range x.tables {
		sources = append(sources, t.source())
	}
	for _, s := range sources {
		for {
			e, ok, err := s.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			p := s.packs[e.Pack]
			if p.Hash != pack {
				continue
			}
			session := s.sessions[p.Session]
			h := format.PackHeader{Kind: p.Kind, Session: session.ID, Salt: p.Salt}
			if err := fn(e.Ordinal, e.PackEntry, h, session.SealedSecret); err != nil {
				return err
			}
		}
	}
	return nil
}
