package index

import (
	"encoding/binary"
	"slices"

	"vaultfs/repo/format"
)

// A runSet is runs that list the same packs: places in a list of names. What a
// run says of a pack stays true, but it counts only while one of the runs that
// say it is in force. Most sets are of one run.
type runSet struct {
	runs    []uint32
	entries int64 // in packs of this set; only counted in tables
}

// inForce tells whether any of the runs has its name. Runs that are not in force,
// or of which a part was lost, have none.
func (s runSet) inForce(names []format.RunName) bool {
	return slices.ContainsFunc(s.runs, func(i uint32) bool { return names[i] != format.RunName{} })
}

// runSets gives equal sets the same number.
type runSets struct {
	list   []runSet
	number map[string]uint32
}

func newRunSets() runSets { return runSets{number: map[string]uint32{}} }

// of is the number of a set of runs, which are sorted.
func (s *runSets) of(runs []uint32) uint32 {
	key := make([]byte, 0, 4*len(runs))
	for _, r := range runs {
		key = binary.BigEndian.AppendUint32(key, r)
	}
	n, ok := s.number[string(key)]
	if !ok {
		n = uint32(len(s.list))
		s.number[string(key)] = n
		s.list = append(s.list, runSet{runs: slices.Clone(runs)})
	}
	return n
}

// takeNames takes the names away from those runs, and tells whether there were any.
func takeNames(names []format.RunName, gone map[format.RunName]bool) (some bool) {
	for i, n := range names {
		if gone[n] {
			names[i], some = format.RunName{}, true
		}
	}
	return some
}

// anyName tells whether any of the runs has its name.
func anyName(names []format.RunName) bool {
	return slices.ContainsFunc(names, func(n format.RunName) bool { return n != format.RunName{} })
}
