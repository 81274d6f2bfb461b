package repo

import "context"

// Condemned are the objects of the packs that are condemned.
func Condemned(ctx context.Context, r *Repo) (objects []string) {
	fresh, err := r.fresh()
	if err != nil {
		panic(err)
	}
	defer fresh.Close()
	if err := fresh.refresh(ctx); err != nil {
		panic(err)
	}
	packs, err := fresh.index.Packs()
	if err != nil {
		panic(err)
	}
	for i, p := range packs.List {
		if _, ok := packs.Condemned(i); ok {
			objects = append(objects, packObject(packs.Owner(i), p.Hash))
		}
	}
	return objects
}

// FewCondemned sets how many packs a head may call condemned or removed, until it is
// undone.
func FewCondemned(n int) (undo func()) {
	was := maxCondemned
	maxCondemned = n
	return func() { maxCondemned = was }
}
