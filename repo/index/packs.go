package index

import (
	"cmp"
	"slices"

	"vaultfs/repo/format"
)

// A ListedPack is a pack that the index places chunks in. There may be millions,
// so that it is small.
type ListedPack struct {
	Hash    format.PackHash
	Size    uint32 // bytes
	owner   uint32 // place in Packs.owners
	local   uint32 // place in the table that lists it
	table   uint16 // place of that table
	Kind    format.PackKind
	Damaged bool // damage was found in it
}

// Packs are the packs that the index lists and that are not removed.
type Packs struct {
	List      []ListedPack // sorted by hash, each once
	owners    []format.SnapshotID
	condemned map[format.PackHash]uint64
}

// Find returns the place of a pack in the list.
func (p *Packs) Find(hash format.PackHash) (int, bool) {
	return slices.BinarySearchFunc(p.List, hash, func(l ListedPack, h format.PackHash) int { return l.Hash.Compare(h) })
}

// Owner is the session that wrote the pack at a place in the list.
func (p *Packs) Owner(i int) format.SnapshotID { return p.owners[p.List[i].owner] }

// Condemned tells whether the pack at a place in the list is condemned, and the
// epoch that said so.
func (p *Packs) Condemned(i int) (epoch uint64, ok bool) {
	epoch, ok = p.condemned[p.List[i].Hash]
	return epoch, ok
}

// Packs lists the packs. It reads no entries, and takes 48 bytes for each pack. A
// table that cannot be read is dropped, as in Lookup, and is an error.
func (x *Index) Packs() (*Packs, error) {
	x.mu.RLock()
	packs, err := x.listPacks(x.tables, x.recent)
	x.mu.RUnlock()
	if err != nil {
		x.mu.Lock()
		x.dropUnreadable()
		x.mu.Unlock()
		return nil, wrap(err)
	}
	return packs, nil
}

// listPacks lists the packs of tables, and of what is in memory if that is
// given, whose place is behind the tables.
func (x *Index) listPacks(tables []*table, recent *memory) (*Packs, error) {
	var total int64
	for _, t := range tables {
		total += t.packs
	}
	if recent != nil {
		total += int64(len(recent.packs))
	}
	all := &Packs{List: make([]ListedPack, 0, total), condemned: x.condemned}
	for i, t := range tables {
		first, local := all.addOwners(t.sessions), uint32(0)
		err := t.eachPack(func(p format.RunPack) {
			x.list(all, p, ListedPack{owner: first, local: local, table: uint16(i)})
			local++
		})
		if err != nil {
			return nil, err
		}
	}
	if recent != nil {
		first := all.addOwners(recent.sessions)
		for i, p := range recent.packs {
			x.list(all, p, ListedPack{owner: first, local: uint32(i), table: uint16(len(tables))})
		}
	}
	slices.SortFunc(all.List, func(a, b ListedPack) int { return cmp.Or(a.Hash.Compare(b.Hash), cmp.Compare(a.table, b.table)) })
	all.List = slices.CompactFunc(all.List, func(a, b ListedPack) bool { return a.Hash == b.Hash })
	return all, nil
}

// list adds a pack; at is its place, with the owner that has number 0 there.
func (x *Index) list(all *Packs, p format.RunPack, at ListedPack) {
	if x.removed[p.Hash] {
		return
	}
	at.Hash, at.Size, at.Kind, at.Damaged = p.Hash, p.Size, p.Kind, x.damaged[p.Hash]
	at.owner += p.Session
	all.List = append(all.List, at)
}

// addOwners adds the sessions of a table, and returns the place of the first.
func (p *Packs) addOwners(sessions []format.RunSession) uint32 {
	first := len(p.owners)
	for _, s := range sessions {
		p.owners = append(p.owners, s.ID)
	}
	return uint32(first)
}
