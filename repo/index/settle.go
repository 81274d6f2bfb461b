package index

import (
	"cmp"
	"errors"
	"slices"

	"vaultfs/repo/format"
)

const (
	// While many runs are loaded nothing is looked up, so that as many tables of
	// about the same size are let stand, to be merged at once.
	loadingTables = 16
	// aboutSame is how many times larger than the smallest the largest of them is.
	aboutSame = 8
)

// settle merges tables until each is at least twice as large as the next, and
// none is for the most part out of force. That is a matter of speed alone: what
// cannot be merged, for lack of room perhaps, stays as it is. It tells whether
// there are other tables than before.
func (x *Index) settle() (changed bool) {
	for !x.unmerged {
		slices.SortStableFunc(x.tables, func(a, b *table) int { return cmp.Compare(b.count, a.count) })
		from, to := x.due()
		if from == to {
			break
		}
		old := slices.Clone(x.tables[from:to])
		t, err := x.create(asSources(old))
		if errors.Is(err, ErrTable) {
			x.dropUnreadable()
			continue
		}
		if err != nil {
			x.unmerged = true
			break
		}
		changed = true
		x.tables = slices.Replace(x.tables, from, to, t)
		for _, t := range old {
			t.close()
		}
	}
	return changed
}

// due is the tables to be merged next, which are sorted by size.
func (x *Index) due() (from, to int) {
	n := len(x.tables)
	if x.loading {
		for i := n - loadingTables; i >= 0; i-- {
			if x.tables[i].count <= aboutSame*x.tables[i+loadingTables-1].count {
				return i, i + loadingTables
			}
		}
		return 0, 0
	}
	for i, t := range x.tables {
		if t.count < t.entries/2 {
			return i, i + 1
		}
	}
	for from < n-1 && x.tables[from].count >= 2*x.tables[from+1].count {
		from++
	}
	if from >= n-1 {
		return 0, 0
	}
	total := int64(0)
	for _, t := range x.tables[from:] {
		total += t.count
	}
	for from > 0 && x.tables[from-1].count < 2*total {
		from--
		total += x.tables[from].count
	}
	return from, n
}

func asSources(tables []*table) []source {
	sources := make([]source, len(tables))
	for i, t := range tables {
		sources[i] = t
	}
	return sources
}

// saveCatalog makes the tables those of the cache. Without a catalog the next one
// to open the cache fetches the runs.
func (x *Index) saveCatalog() {
	x.renamed = false
	if !x.temporary {
		_ = writeCatalog(x.dir, x.tables)
	}
}

// covered is the runs that the copy holds the whole of.
func (x *Index) covered() map[format.RunName]bool {
	have := map[format.RunName]bool{}
	for _, n := range x.recent.runs {
		have[n] = true
	}
	for _, t := range x.tables {
		for _, n := range t.runs {
			have[n] = true
		}
	}
	delete(have, format.RunName{})
	return have
}
