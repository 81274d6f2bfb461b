package index

import (
	"slices"

	"vaultfs/repo/format"
)

// A ListedPack is a pack that the index places chunks in. There may be millions,
// so that it is small.
type ListedPack struct {
	Hash    format.PackHash
	Size    uint32 // bytes
	owner   uint32 // place in Packs.owners
	Damaged bool   // damage was found in it
}

// Packs are the packs that the index lists and that are not removed.
type Packs struct {
	List   []ListedPack // sorted by hash, each once
	owners []format.SnapshotID
}

// Find returns the place of a pack in the list.
func (p *Packs) Find(hash format.PackHash) (int, bool) {
	return slices.BinarySearchFunc(p.List, hash, func(l ListedPack, h format.PackHash) int { return l.Hash.Compare(h) })
}

// Owner is the session that wrote the pack at a place in the list.
func (p *Packs) Owner(i int) format.SnapshotID { return p.owners[p.List[i].owner] }

// Packs lists the packs. It reads no entries, and takes 44 bytes for each pack. A
// table that cannot be read is dropped, as in Lookup, and is an error.
func (x *Index) Packs() (*Packs, error) {
	packs, err := x.listPacks()
	if err != nil {
		x.mu.Lock()
		x.dropUnreadable()
		x.mu.Unlock()
		return nil, wrap(err)
	}
	return packs, nil
}

func (x *Index) listPacks() (*Packs, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	total := int64(len(x.recent.packs))
	for _, t := range x.tables {
		total += t.packs
	}
	all := &Packs{List: make([]ListedPack, 0, total)}
	add := func(first uint32, p format.RunPack) {
		if !x.removed[p.Hash] {
			all.List = append(all.List, ListedPack{p.Hash, p.Size, first + p.Session, x.damaged[p.Hash]})
		}
	}
	first := all.addOwners(x.recent.sessions)
	for _, p := range x.recent.packs {
		add(first, p)
	}
	for _, t := range x.tables {
		first = all.addOwners(t.sessions)
		if err := t.eachPack(func(p format.RunPack) { add(first, p) }); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all.List, func(a, b ListedPack) int { return a.Hash.Compare(b.Hash) })
	all.List = slices.CompactFunc(all.List, func(a, b ListedPack) bool { return a.Hash == b.Hash })
	return all, nil
}

// addOwners adds the sessions of a table, and returns the place of the first.
func (p *Packs) addOwners(sessions []format.RunSession) uint32 {
	first := len(p.owners)
	for _, s := range sessions {
		p.owners = append(p.owners, s.ID)
	}
	return uint32(first)
}
