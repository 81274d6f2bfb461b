package index

import (
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// memory is the part of the index that is not in a table yet. It is a source.
type memory struct {
	runs     []format.RunName // zero: not in force any more
	runSets  runSets
	sessions []format.RunSession
	packs    []format.RunPack
	setOf    []uint32 // by place in packs: place in runSets
	session  map[format.SnapshotID]uint32
	pack     map[format.PackHash]uint32
	entries  []format.RunEntry
	byID     map[chunk.ID][]int32 // places in entries
}

func newMemory() *memory {
	return &memory{
		runSets: newRunSets(),
		session: map[format.SnapshotID]uint32{},
		pack:    map[format.PackHash]uint32{},
		byID:    map[chunk.ID][]int32{},
	}
}

// add takes in a run, so that its chunks can be looked up.
func (m *memory) add(name format.RunName, run *format.Run) {
	place := m.addPacks(name, run)
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

// oneRun is a run as a source of a table. It cannot be looked up in.
func oneRun(name format.RunName, run *format.Run) *memory {
	m := newMemory()
	place := m.addPacks(name, run)
	m.entries = run.Entries
	if len(m.packs) < len(run.Packs) { // a pack is in the run twice
		m.entries = slices.Clone(run.Entries)
		for i, e := range m.entries {
			m.entries[i].Pack = place[e.Pack]
		}
	}
	return m
}

// addPacks returns, for each of the run's packs, its place in memory.
func (m *memory) addPacks(name format.RunName, run *format.Run) []uint32 {
	number := uint32(len(m.runs))
	m.runs = append(m.runs, name)
	place := make([]uint32, len(run.Packs))
	for i, p := range run.Packs {
		at, ok := m.pack[p.Hash]
		if ok {
			m.setOf[at] = m.runSets.of(union(m.runSets.list[m.setOf[at]].runs, number))
		} else {
			p.Session = m.addSession(run.Sessions[p.Session])
			at = uint32(len(m.packs))
			m.pack[p.Hash] = at
			m.packs, m.setOf = append(m.packs, p), append(m.setOf, m.runSets.of([]uint32{number}))
		}
		place[i] = at
	}
	return place
}

// union adds a number to a sorted list.
func union(list []uint32, n uint32) []uint32 {
	i, ok := slices.BinarySearch(list, n)
	if ok {
		return list
	}
	return slices.Insert(slices.Clone(list), i, n)
}

func (m *memory) addSession(session format.RunSession) uint32 {
	at, ok := m.session[session.ID]
	if !ok {
		at = uint32(len(m.sessions))
		m.session[session.ID] = at
		m.sessions = append(m.sessions, session)
	}
	if m.sessions[at].SealedSecret == nil {
		m.sessions[at].SealedSecret = session.SealedSecret
	}
	return at
}

func (m *memory) lookup(id chunk.ID, found []Location) []Location {
	for _, i := range m.byID[id] {
		if e := m.entries[i]; m.inForce(e.Pack) {
			found = append(found, m.locate(e))
		}
	}
	return found
}

func (m *memory) inForce(pack uint32) bool {
	return m.runSets.list[m.setOf[pack]].inForce(m.runs)
}

func (m *memory) locate(e format.RunEntry) Location {
	p := m.packs[e.Pack]
	s := m.sessions[p.Session]
	return Location{e.PackEntry, e.Ordinal, p, s.ID, s.SealedSecret}
}

func (m *memory) names() []format.RunName          { return m.runs }
func (m *memory) sets() []runSet                   { return m.runSets.list }
func (m *memory) packCount() int                   { return len(m.packs) }
func (m *memory) secret(owner int) ([]byte, error) { return m.sessions[owner].SealedSecret, nil }

func (m *memory) owners() []format.SnapshotID {
	owners := make([]format.SnapshotID, len(m.sessions))
	for i, s := range m.sessions {
		owners[i] = s.ID
	}
	return owners
}

func (m *memory) packsByHash() packReader {
	order := make([]uint32, len(m.packs))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return m.packs[a].Hash.Compare(m.packs[b].Hash) })
	return &memoryPacks{m, order}
}

// memoryPacks are the packs that are still to be read.
type memoryPacks struct {
	memory *memory
	order  []uint32
}

func (r *memoryPacks) next() (p sourcePack, ok bool, err error) {
	if len(r.order) == 0 {
		return p, false, nil
	}
	i := r.order[0]
	r.order = r.order[1:]
	return sourcePack{r.memory.packs[i], r.memory.setOf[i], i}, true, nil
}

func (m *memory) entriesByID() (entryReader, error) {
	sorted := m.entries
	if !slices.IsSortedFunc(sorted, format.RunEntry.Compare) {
		sorted = slices.Clone(sorted)
		slices.SortFunc(sorted, format.RunEntry.Compare)
	}
	r := &memoryEntries{rest: sorted}
	r.encode()
	return r, nil
}

// memoryEntries are the entries that are still to be read, and the first of them
// encoded.
type memoryEntries struct {
	rest []format.RunEntry
	b    []byte
}

func (r *memoryEntries) encode() {
	if r.b = r.b[:0]; len(r.rest) > 0 {
		r.b = r.rest[0].Append(r.b)
	}
}

func (r *memoryEntries) entry() []byte {
	if len(r.b) == 0 {
		return nil
	}
	return r.b
}

func (r *memoryEntries) next() error {
	r.rest = r.rest[1:]
	r.encode()
	return nil
}
