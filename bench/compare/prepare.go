package main

import (
	"context"
	"fmt"
	"path/filepath"

	"vaultfs/bench"
)

// prepare makes all data before anything is measured, so that what cannot be made
// ends the run at its beginning.
func (r *run) prepare(ctx context.Context) error {
	o := &r.options
	if o.measures("guests") || o.measures("large") {
		guests, err := r.guestsFor(ctx)
		if err != nil {
			return err
		}
		if o.measures("large") {
			if _, err := r.maker.Large(ctx, o.largeBytes(), guests...); err != nil {
				return err
			}
		}
	}
	if o.measures("tree") && o.root == "" {
		if _, err := r.maker.Root(ctx); err != nil {
			return err
		}
	}
	if o.measures("dump") {
		if _, err := r.maker.Dumps(ctx, o.scale); err != nil {
			return err
		}
	}
	return nil
}

// checkSpace refuses to begin what a full disk would end.
func (r *run) checkSpace() error {
	dir := r.options.dir
	free, err := bench.Free(dir)
	if err != nil {
		return err
	}
	made, err := madeBytes(dir)
	if err != nil {
		return err
	}
	data, more := r.options.space(len(r.peers))
	if need := max(0, data-made) + more; free < need {
		return fmt.Errorf("%s has %.1f GB free, and about %.0f GB are needed: make room, or give another directory (-dir) or a smaller disk (-large MB)",
			dir, float64(free)/1e9, float64(need)/1e9)
	}
	return nil
}

// space is about how many bytes the data needs that lasts, and how many the part
// that needs most while it is measured.
func (o *options) space(programs int) (data, more int64) {
	const raws, made = 4e9, 9e9 // of the guests
	if o.measures("guests") || o.measures("large") {
		data += raws
		if o.guests == "" {
			data += made
		}
	}
	if o.measures("guests") { // repositories; the guest as a copy, and as it is restored
		more = int64(programs)*16e8 + 6e9
	}
	if o.measures("large") {
		data, more = data+o.largeBytes(), max(more, o.largeBytes()*3/2)
	}
	if o.measures("tree") {
		data, more = data+1e9, max(more, 3e9)
	}
	if o.measures("dump") {
		data, more = data+int64(o.scale)*4e7, max(more, int64(o.scale)*6e7)
	}
	return data, more
}

// madeBytes is what an earlier run made already.
func madeBytes(dir string) (sum int64, err error) {
	for _, pattern := range []string{"*.qcow2", "*.raw", "root", "dumps-*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return 0, err
		}
		for _, path := range found {
			n, err := bench.DiskUsage(path)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}
