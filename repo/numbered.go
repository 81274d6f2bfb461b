package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vaultfs/repo/store"
)

// Heads and policies are rows of numbered objects: each is made once, the highest
// number is in force, and those out of force are deleted but the last of them.

// numberedObject is the name of an object in the row of a directory.
func numberedObject(dir string, seq uint64) string { return fmt.Sprintf("%s/%020d", dir, seq) }

// emptyListings is how often a row is listed before it is believed that it is
// empty: others may publish so fast that all that were there when a listing began
// are gone before it comes to them, and it need not see those that came since.
const emptyListings = 10

// numbers lists the numbers of the row in a directory, lowest first.
func (r *Repo) numbers(ctx context.Context, dir string) (seqs []uint64, err error) {
	for range emptyListings {
		err = r.store.List(ctx, dir, func(i store.Info) error {
			seq, err := strconv.ParseUint(strings.TrimPrefix(i.Name, dir+"/"), 10, 64)
			if err == nil && i.Name == numberedObject(dir, seq) {
				seqs = append(seqs, seq)
			}
			return nil
		})
		if err != nil || len(seqs) > 0 {
			break
		}
	}
	slices.Sort(seqs)
	return seqs, err
}

// dropOld deletes the objects of a row that are out of force, once newest is in
// force, but the last one, which someone may be reading right now.
func (r *Repo) dropOld(ctx context.Context, dir string, newest uint64) error {
	seqs, err := r.numbers(ctx, dir)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		if seq+1 >= newest {
			break
		}
		if err := r.store.Delete(ctx, numberedObject(dir, seq)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
