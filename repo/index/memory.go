package index

import (
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// memory is the part of the index that is not in a table yet.
type memory struct {
	packSet
	runs    []format.RunName
	entries []format.RunEntry
	byID    map[chunk.ID][]int32 // places in entries
}

func newMemory() *memory {
	return &memory{packSet: newPackSet(), byID: map[chunk.ID][]int32{}}
}

func (m *memory) add(name format.RunName, run *format.Run) {
	m.runs = append(m.runs, name)
	place := m.packSet.add(run.Sessions, run.Packs)
	for _, e := range run.Entries {
		e.Pack = place[e.Pack]
		if slices.ContainsFunc(m.byID[e.ID], func(i int32) bool {
			return m.entries[i].Pack == e.Pack && m.entries[i].Ordinal == e.Ordinal
		}) {
			continue
		}
		m.byID[e.ID] = append(m.byID[e.ID], int32(len(m.entries)))
		m.entries = append(m.entries, e)
	}
}

func (m *memory) lookup(id chunk.ID, found []Location) []Location {
	for _, i := range m.byID[id] {
		e := m.entries[i]
		p := m.packs[e.Pack]
		s := m.sessions[p.Session]
		found = append(found, Location{e.PackEntry, e.Ordinal, p, s.ID, s.SealedSecret})
	}
	return found
}

func (m *memory) source() source {
	sorted := slices.Clone(m.entries)
	slices.SortFunc(sorted, format.RunEntry.Compare)
	i := 0
	return source{m.sessions, m.packs, func() (e format.RunEntry, ok bool, err error) {
		if i == len(sorted) {
			return e, false, nil
		}
		i++
		return sorted[i-1], true, nil
	}, func() { i = 0 }}
}

// packSet joins the pack lists of several runs or tables into one.
type packSet struct {
	sessions []format.RunSession
	packs    []format.RunPack
	session  map[format.SnapshotID]uint32
	pack     map[format.PackHash]uint32
}

func newPackSet() packSet {
	return packSet{session: map[format.SnapshotID]uint32{}, pack: map[format.PackHash]uint32{}}
}

// add returns, for each of the packs, its place in the set.
func (s *packSet) add(sessions []format.RunSession, packs []format.RunPack) []uint32 {
	place := make([]uint32, len(packs))
	for i, p := range packs {
		at, ok := s.pack[p.Hash]
		if !ok {
			p.Session = s.addSession(sessions[p.Session])
			at = uint32(len(s.packs))
			s.pack[p.Hash] = at
			s.packs = append(s.packs, p)
		}
		place[i] = at
	}
	return place
}

func (s *packSet) addSession(session format.RunSession) uint32 {
	at, ok := s.session[session.ID]
	if !ok {
		at = uint32(len(s.sessions))
		s.session[session.ID] = at
		s.sessions = append(s.sessions, session)
	}
	if s.sessions[at].SealedSecret == nil {
		s.sessions[at].SealedSecret = session.SealedSecret
	}
	return at
}
