package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/repo"
)

// A proof is what verify has looked at and found.
type proof struct {
	*repo.VerifyResult
	readData bool
	qemu     int            // disks that qemu-img has checked; -1 if it was not asked to
	images   []repo.Finding // what qemu-img has against them
	took     time.Duration
}

// damaged is the number of objects that are not as they should be.
func (p *proof) damaged() int { return len(p.Findings) + len(p.images) }

// newer is what a newer version wrote and this one did not look at.
func (p *proof) newer() (sentences []string) {
	for _, err := range p.Newer {
		sentences = append(sentences, err.Error())
	}
	return sentences
}

// proofJSON is a verifyJSON that tells what was not looked at, if there is such.
type proofJSON struct {
	verifyJSON
	Newer []string `json:"newer,omitempty"`
}

func (a *app) verifyCommand() *cobra.Command {
	var readData, qemu bool
	c := &cobra.Command{
		Use:   "verify [SNAP…]",
		Short: "Prove that snapshots can be restored",
		Long: `Prove that the repository holds all that its snapshots name, or those of the
snapshots given. What is looked at:

  structure     (always) every snapshot, index and map can be read, every piece
                of data is in a pack, every pack is there and has its length
  --read-data   every pack is read, every piece of data decrypted and its hash
                computed again: what then passes can be restored
  --qemu        the disks are mounted for the occasion, and qemu-img check looks
                at each as the qcow2 file that a mount shows

All that is damaged is listed, with the snapshots, disks and bytes that are lost
with it, and the exit status is 4. What a newer version of vaultfs wrote cannot
be proved by this one: it is named, and the exit status is 1. To heal data, back
the same sources up again while they still hold it: what is known to be damaged
is stored anew.

The local copy of the index is not used: what is proved is the repository.`,
		Example: `  vaultfs verify
  vaultfs verify --read-data
  vaultfs verify vm/win11 --read-data --qemu`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.verify(c.Context(), r, args, readData, qemu) })
		},
		ValidArgsFunction: a.completeSnapshots,
	}
	c.Flags().BoolVar(&readData, "read-data", false, "read and rehash everything")
	c.Flags().BoolVar(&qemu, "qemu", false, "run qemu-img check on every disk")
	return c
}

func (a *app) verify(ctx context.Context, r *repo.Repo, refs []string, readData, qemu bool) error {
	p := &proof{readData: readData, qemu: -1}
	begin := time.Now()
	chosen, err := resolveAll(ctx, r, refs)
	if err != nil {
		return err
	}
	var done, total atomic.Int64
	stop := a.watch(func() state {
		if total.Load() == 0 {
			return state{phase: "checking the structure"}
		}
		return state{"reading", done.Load(), total.Load()}
	})
	p.VerifyResult, err = r.Verify(ctx, repo.VerifyOptions{
		Snapshots: chosen, ReadData: readData,
		Progress: func(d, t int64) {
			total.Store(t)
			done.Store(d)
		},
	})
	stop()
	if err == nil && qemu {
		err = a.checkWithQEMU(ctx, r, chosen, p)
	}
	if err != nil {
		return err
	}
	p.took = time.Since(begin)
	a.print.proof(p)
	switch {
	case p.damaged() > 0:
		return &statusError{status: statusDamage}
	case len(p.Newer) > 0:
		return &statusError{status: statusFailed}
	}
	return nil
}

// resolveAll finds the snapshots that are meant; nil for none.
func resolveAll(ctx context.Context, r *repo.Repo, refs []string) (chosen []*repo.Snapshot, err error) {
	seen := map[string]bool{}
	for _, ref := range refs {
		s, err := r.Resolve(ctx, ref)
		if err != nil {
			return nil, err
		}
		if !seen[s.ID] {
			chosen = append(chosen, s)
		}
		seen[s.ID] = true
	}
	return chosen, nil
}
