package index

import (
	"bytes"

	"vaultfs/repo/format"
)

// A source is what tables are merged from: a table, or what is in memory.
type source interface {
	names() []format.RunName          // of its runs; those without a name do not count
	sets() []runSet                   // of places in names
	owners() []format.SnapshotID      // the sessions that wrote its packs
	secret(owner int) ([]byte, error) // of a session; nil if there is none
	packCount() int
	packsByHash() packReader
	entriesByID() (entryReader, error)
}

// A sourcePack is a pack as a source has it.
type sourcePack struct {
	format.RunPack        // Session is a place in the source's owners
	set            uint32 // place in its sets
	local          uint32 // the number that its entries call it by
}

// A packReader gives the packs of a source by rising hash.
type packReader interface {
	next() (p sourcePack, ok bool, err error)
}

// An entryReader goes through the encoded entries of a source by rising ID.
type entryReader interface {
	entry() []byte // where it is now; nil behind the last
	next() error
}

// A placedPack is a pack of one of several sources.
type placedPack struct {
	sourcePack
	source int
}

// mergePacks calls fn for every pack of the sources, by rising hash, with all
// that they say of it. The group is good until fn returns.
func mergePacks(sources []source, fn func(group []placedPack) error) error {
	readers, heads, more := make([]packReader, len(sources)), make([]sourcePack, len(sources)), make([]bool, len(sources))
	var err error
	for i, s := range sources {
		readers[i] = s.packsByHash()
		if heads[i], more[i], err = readers[i].next(); err != nil {
			return err
		}
	}
	var group []placedPack
	for {
		least := -1
		for i := range heads {
			if more[i] && (least < 0 || bytes.Compare(heads[i].Hash[:], heads[least].Hash[:]) < 0) {
				least = i
			}
		}
		if least < 0 {
			return nil
		}
		group = group[:0]
		hash := heads[least].Hash
		for i := least; i < len(heads); i++ {
			for more[i] && heads[i].Hash == hash {
				group = append(group, placedPack{heads[i], i})
				if heads[i], more[i], err = readers[i].next(); err != nil {
					return err
				}
			}
		}
		if err := fn(group); err != nil {
			return err
		}
	}
}
