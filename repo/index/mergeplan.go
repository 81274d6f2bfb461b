package index

import (
	"bytes"
	"slices"

	"vaultfs/repo/format"
)

// gone is the place of a pack that no run in force lists.
const gone = ^uint32(0)

// A mergePlan says how runs, sets, sessions and packs of several sources are
// numbered in the table that they are merged into. Only the numbers are in
// memory, 4 bytes for each.
type mergePlan struct {
	sources  []source
	runs     []format.RunName // sorted
	mapped   [][][]uint32     // by source and set: places in runs, sorted
	sets     runSets
	places   [][]uint32 // by source and the number of a pack there: its place
	setOf    []uint32   // by place of a pack
	sessions []format.SnapshotID
	owned    [][]int32  // by source and place in sessions: place in its owners, or -1
	owner    [][]uint32 // by source and place in its owners: place in sessions
}

func newMergePlan(sources []source) (*mergePlan, error) {
	p := &mergePlan{sources: sources, sets: newRunSets()}
	p.numberRuns()
	err := p.numberPacks()
	return p, err
}

// numberRuns takes over the runs in force.
func (p *mergePlan) numberRuns() {
	for _, s := range p.sources {
		p.runs = append(p.runs, s.names()...)
	}
	p.runs = slices.DeleteFunc(p.runs, func(n format.RunName) bool { return n == format.RunName{} })
	slices.SortFunc(p.runs, format.RunName.Compare)
	p.runs = slices.Compact(p.runs)
	for _, s := range p.sources {
		names := s.names()
		mapped := make([][]uint32, len(s.sets()))
		for i, set := range s.sets() {
			for _, r := range set.runs {
				if at, ok := slices.BinarySearchFunc(p.runs, names[r], format.RunName.Compare); ok {
					mapped[i] = append(mapped[i], uint32(at))
				}
			}
			slices.Sort(mapped[i])
			mapped[i] = slices.Compact(mapped[i])
		}
		p.mapped = append(p.mapped, mapped)
	}
}

// numberPacks numbers the packs that runs in force list, and the sessions that
// wrote them.
func (p *mergePlan) numberPacks() error {
	used := make([][]bool, len(p.sources))
	for i, s := range p.sources {
		used[i] = make([]bool, len(s.owners()))
		p.places = append(p.places, make([]uint32, s.packCount()))
	}
	err := mergePacks(p.sources, func(group []placedPack) error {
		place := gone
		if runs := p.listedBy(group); len(runs) > 0 {
			place = uint32(len(p.setOf))
			p.setOf = append(p.setOf, p.sets.of(runs))
			used[group[0].source][group[0].Session] = true
		}
		for _, g := range group {
			p.places[g.source][g.local] = place
		}
		return nil
	})
	if err == nil {
		p.numberSessions(used)
	}
	return err
}

// listedBy is the runs in force that list a pack, sorted.
func (p *mergePlan) listedBy(group []placedPack) []uint32 {
	runs := p.mapped[group[0].source][group[0].set]
	for i, g := range group[1:] {
		if i == 0 {
			runs = slices.Clone(runs)
		}
		runs = append(runs, p.mapped[g.source][g.set]...)
	}
	if len(group) > 1 {
		slices.Sort(runs)
		runs = slices.Compact(runs)
	}
	return runs
}

func (p *mergePlan) numberSessions(used [][]bool) {
	for i, s := range p.sources {
		for k, id := range s.owners() {
			if used[i][k] {
				p.sessions = append(p.sessions, id)
			}
		}
	}
	slices.SortFunc(p.sessions, compareSession)
	p.sessions = slices.Compact(p.sessions)
	for _, s := range p.sources {
		owner, owned := make([]uint32, len(s.owners())), make([]int32, len(p.sessions))
		for i := range owned {
			owned[i] = -1
		}
		for k, id := range s.owners() {
			if at, ok := slices.BinarySearchFunc(p.sessions, id, compareSession); ok {
				owner[k], owned[at] = uint32(at), int32(k)
			}
		}
		p.owner, p.owned = append(p.owner, owner), append(p.owned, owned)
	}
}

// secret is the sealed secret of a session, from whichever source has it.
func (p *mergePlan) secret(session int) ([]byte, error) {
	for i, s := range p.sources {
		at := p.owned[i][session]
		if at < 0 {
			continue
		}
		if secret, err := s.secret(int(at)); err != nil || secret != nil {
			return secret, err
		}
	}
	return nil, nil
}

// eachPack calls fn for the packs that were given places, in order.
func (p *mergePlan) eachPack(fn func(pack format.RunPack, set uint32) error) error {
	return mergePacks(p.sources, func(group []placedPack) error {
		g := group[0]
		place := p.places[g.source][g.local]
		if place == gone {
			return nil
		}
		g.Session = p.owner[g.source][g.Session]
		return fn(g.RunPack, p.setOf[place])
	})
}

func compareSession(a, b format.SnapshotID) int { return bytes.Compare(a[:], b[:]) }
