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
	local   uint32 // number in the table that lists it
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
	packs, err := x.listPacks(append(asSources(x.tables), x.recent))
	x.mu.RUnlock()
	if err != nil {
		x.mu.Lock()
		x.dropUnreadable()
		x.mu.Unlock()
		return nil, wrap(err)
	}
	return packs, nil
}

// listPacks lists the packs of sources, each as the first that has it in force.
func (x *Index) listPacks(sources []source) (*Packs, error) {
	all := &Packs{condemned: x.condemned}
	total := 0
	first, live := make([]uint32, len(sources)), make([][]bool, len(sources))
	for i, s := range sources {
		total += s.packCount()
		live[i] = inForce(s)
		first[i] = uint32(len(all.owners))
		all.owners = append(all.owners, s.owners()...)
	}
	all.List = make([]ListedPack, 0, total)
	err := mergePacks(sources, func(group []placedPack) error {
		hash := group[0].Hash
		i := slices.IndexFunc(group, func(p placedPack) bool { return live[p.source][p.set] })
		if i < 0 || x.removed[hash] {
			return nil
		}
		p := group[i]
		all.List = append(all.List, ListedPack{
			Hash: hash, Size: p.Size, Kind: p.Kind, Damaged: x.damaged[hash],
			owner: first[p.source] + p.Session, local: p.local, table: uint16(p.source),
		})
		return nil
	})
	return all, err
}
