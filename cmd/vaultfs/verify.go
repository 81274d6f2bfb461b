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
	partly   bool           // it was asked for a share, or a time, of the data
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

// proofJSON is a verifyJSON that tells what was not looked at, if there is such,
// and how much of the data has been read by now.
type proofJSON struct {
	verifyJSON
	Newer []string  `json:"newer,omitempty"`
	Turn  *turnJSON `json:"turn,omitempty"` // with the depth "data"
}

// turnJSON tells how far reading has come round all packs.
type turnJSON struct {
	Packs       int        `json:"packs"` // that are there to be read
	Bytes       int64      `json:"bytes"`
	Share       float64    `json:"share"`        // of the bytes, that this run has read
	UnreadPacks int        `json:"unread_packs"` // that were never read, as far as is known
	UnreadBytes int64      `json:"unread_bytes"`
	Oldest      *time.Time `json:"oldest"` // when the pack was read that was not read for longest; null if none was
	Runs        int        `json:"runs"`   // of this size that a turn over all packs takes; 0 if this one has read nothing
}

func toTurnJSON(p *proof) *turnJSON {
	t := p.Turn
	if t == nil {
		return nil
	}
	j := &turnJSON{Packs: t.Packs.Packs, Bytes: t.Packs.Bytes, Share: p.covered(), UnreadPacks: t.Unread.Packs, UnreadBytes: t.Unread.Bytes, Runs: t.Runs}
	if !t.Oldest.IsZero() {
		j.Oldest = &t.Oldest
	}
	return j
}

// covered is the share of the bytes of all packs that this run has read.
func (p *proof) covered() float64 {
	if p.Turn == nil || p.Turn.Packs.Bytes == 0 {
		return 1
	}
	return float64(p.Bytes) / float64(p.Turn.Packs.Bytes)
}

// verifyFlags say how deep to look.
type verifyFlags struct {
	readData, qemu bool
	sample         float64
	duration       time.Duration
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyFlags
	c := &cobra.Command{
		Use:   "verify [SNAP…]",
		Short: "Prove that snapshots can be restored",
		Long: `Prove that the repository holds all that its snapshots name, or those of the
snapshots given. What is looked at:

  structure     (always) every snapshot, index and map can be read, every piece
                of data is in a pack, every pack is there and has its length
  --read-data   every pack is read, every piece of data decrypted and its hash
                computed again: what then passes can be restored
  --sample P%   as --read-data, but only that share of the data
  --for D       as --read-data, but only for the time D, such as 30m or 2h, after
                which no more is begun
  --qemu        the disks are mounted for the occasion, and qemu-img check looks
                at each as the qcow2 file that a mount shows

With --sample or --for, or both, what was never read comes first, and then what
was not read for longest, so that each run goes on where the last one stopped,
also if that was interrupted or killed: 20 runs with --sample 5% read everything
once. The repository keeps a record of what was read when; see vaultfs status.
Backups, forget and gc may go on meanwhile.

All that is damaged is listed, with the snapshots, disks and bytes that are lost
with it, and the exit status is 4. What a newer version of vaultfs wrote cannot
be proved by this one: it is named, and the exit status is 1. To heal data, back
the same sources up again while they still hold it: what is known to be damaged
is stored anew.

The local copy of the index is not used: what is proved is the repository.

With --json one line {"event":"summary",…} has all findings, and, if data were
read, in "turn" how far reading has come round all packs.`,
		Example: `  vaultfs verify
  vaultfs verify --read-data
  vaultfs verify --sample 5%        (every night: all is read every 20 days)
  vaultfs verify --for 30m
  vaultfs verify vm/win11 --read-data --qemu`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c); err != nil {
				return err
			}
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.verify(c.Context(), r, args, o) })
		},
		ValidArgsFunction: a.completeSnapshots,
	}
	f := c.Flags()
	f.BoolVar(&o.readData, "read-data", false, "read and rehash everything")
	f.Var(share{&o.sample}, "sample", "read and rehash the share `P%` of the data, least recently read first")
	f.DurationVar(&o.duration, "for", 0, "read and rehash data for the time `D`, least recently read first")
	f.Lookup("sample").DefValue = "" // no default to show
	f.BoolVar(&o.qemu, "qemu", false, "run qemu-img check on every disk")
	return c
}

// check refuses a share or a time that would read nothing.
func (o *verifyFlags) check(c *cobra.Command) error {
	if c.Flags().Changed("sample") && o.sample <= 0 {
		return usage(c, "--sample 0%% would read nothing: give a share such as 5%%")
	}
	if c.Flags().Changed("for") && o.duration <= 0 {
		return usage(c, "--for %v would read nothing: give a time such as 30m", o.duration)
	}
	return nil
}

func (a *app) verify(ctx context.Context, r *repo.Repo, refs []string, o verifyFlags) error {
	partly := o.sample > 0 || o.duration > 0
	p := &proof{readData: o.readData || partly, partly: partly, qemu: -1}
	if p.readData {
		a.onInterrupt = "; what was read so far is recorded, the next run with --sample or --for goes on from there"
	}
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
		Snapshots: chosen, ReadData: o.readData, Sample: o.sample, For: o.duration,
		Progress: func(d, t int64) {
			total.Store(t)
			done.Store(d)
		},
	})
	stop()
	if err == nil && o.qemu {
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
