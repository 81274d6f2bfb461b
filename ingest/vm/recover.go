package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/ingest"
	"vaultfs/internal/virt"
	"vaultfs/repo"
)

// RecoverOptions says where to look.
type RecoverOptions struct {
	StateDir string     // "" is that of ingest.StateDir
	Repo     *repo.Repo // tells whether the snapshot of a checkpoint was committed; may be nil
}

// Recovered is a guest that a run which died had left in another state than it found it in.
type Recovered struct {
	VM, UUID string
	Done     []string // what was set right
	Err      error    // what could not be; it is tried again the next time
}

// Recover sets right what runs that died have left, of all guests. A guest that a living run is at is left alone.
func Recover(ctx context.Context, o RecoverOptions) (list []Recovered, err error) {
	if o.StateDir == "" {
		if o.StateDir, err = ingest.StateDir(); err != nil {
			return nil, err
		}
	}
	uuids, err := leftEntries(o.StateDir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	for _, uuid := range uuids {
		if err := ctx.Err(); err != nil {
			return list, err
		}
		if one := recoverOne(ctx, uuid, o); one != nil {
			list = append(list, *one)
		}
	}
	return list, nil
}

// recoverOne is nil if there is nothing to be done.
func recoverOne(ctx context.Context, uuid string, o RecoverOptions) *Recovered {
	j, err := openJournal(o.StateDir, entry{UUID: uuid})
	switch {
	case errors.Is(err, errJournalLocked):
		return nil // at work
	case err != nil:
		return &Recovered{UUID: uuid, Err: err}
	}
	defer j.close()
	if j.left == nil {
		return nil // it ended meanwhile
	}
	one := &Recovered{VM: j.left.VM, UUID: uuid}
	j.takeOver()
	h, err := virt.Connect(j.entry.URI)
	if err != nil {
		one.Err = err
		return one
	}
	defer h.Close()
	done, trouble, err := setRight(ctx, h, j, o.Repo)
	one.Done, one.Err = done, errors.Join(err, trouble)
	return one
}

// recover sets right what a run that died has left of this guest. A job or an overlay of that run that stays keeps the
// guest from being backed up. Whatever else cannot be set right, such as an agent that does not answer, is a warning: the
// next run tries again.
func (r *run) recover(ctx context.Context) error {
	if r.journal.left == nil {
		return nil
	}
	r.journal.takeOver()
	done, trouble, err := setRight(ctx, r.host, r.journal, r.repo)
	if trouble != nil {
		r.result.Warnings = append(r.result.Warnings, fmt.Sprintf("VM %q: a run of vaultfs died while it was at this VM: %v", r.name, trouble))
	}
	for _, what := range done {
		r.result.Notes = append(r.result.Notes, "after a run of vaultfs that died: "+what)
	}
	if err != nil {
		return fmt.Errorf("VM %q: a run of vaultfs died while it was at this VM, and this cannot be set right: %w", r.name, err)
	}
	r.journal.entry.VM, r.journal.entry.URI = r.name, r.host.URI
	return nil
}

// setRight undoes what the journal's entry tells, and says what it did. What is done is dropped from the entry. Trouble
// is what could not be undone and does not keep the guest from being read; err is what does.
func setRight(ctx context.Context, h *virt.Host, j *journal, r *repo.Repo) (done []string, trouble, err error) {
	e := j.entry
	d, err := h.Conn.LookupDomainByUUIDString(e.UUID)
	if virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
		done, err = forget(h, j)
		return done, nil, err
	}
	if err != nil {
		return nil, nil, virt.Sentence(err)
	}
	defer d.Free()
	f := &fixer{ctx: ctx, domain: d, journal: j, repo: r}
	if f.link, err = newLink(d); err != nil {
		return nil, nil, err
	}
	defer f.link.close()
	err = f.job()
	trouble = f.frozen()
	err = errors.Join(err, f.overlays())
	trouble = errors.Join(trouble, f.stopped(), f.checkpoint())
	return f.done, trouble, err
}

// fixer sets one guest right, step by step. Each step can be done again.
type fixer struct {
	ctx     context.Context
	domain  *libvirt.Domain
	link    *link
	journal *journal
	repo    *repo.Repo
	done    []string
}

func (f *fixer) did(format string, args ...any) {
	f.done = append(f.done, fmt.Sprintf(format, args...))
}

// job ends a backup job and removes its scratch files.
func (f *fixer) job() error {
	e := f.journal.entry
	if e.Scratch == "" {
		return nil
	}
	if active, err := f.domain.IsActive(); err == nil && active {
		notes, err := clearJob(e.VM, e.UUID, f.domain)
		if err != nil {
			return err
		}
		f.done = append(f.done, notes...)
	}
	removed, err := removeScratch(e.Scratch)
	if err != nil {
		return err
	}
	if removed {
		f.did("removed the scratch files of its backup job")
	}
	return f.journal.update(func(e *entry) { e.Scratch = "" })
}

// frozen thaws a guest that may be frozen: not one that has been started anew since.
func (f *fixer) frozen() error {
	e := f.journal.entry
	if !e.Freezing {
		return nil
	}
	if active, err := f.domain.IsActive(); err == nil && active && (e.Running == "" || e.Running == running(f.domain)) {
		note, warning := thawLeft(f.journal.entry.VM, f.link, agentTimeout)
		if warning != "" {
			return errors.New(warning)
		}
		f.did("%s", note)
	}
	return f.journal.update(func(e *entry) { e.Freezing = false })
}

// checkpoint removes one whose snapshot was not committed. Without the repository, or with the guest shut off, that is
// left to the next backup, which keeps no checkpoint but its own.
func (f *fixer) checkpoint() error {
	name := f.journal.entry.Checkpoint
	if name == "" {
		return nil
	}
	if f.repo != nil && strings.HasPrefix(name, checkpointPrefix(f.repo)) {
		if active, err := f.domain.IsActive(); err == nil && active {
			if err := f.keepOne(name); err != nil {
				return err
			}
		}
	}
	return f.journal.update(func(e *entry) { e.Checkpoint = "" })
}

// keepOne does with the checkpoint of a backup what the run would have done had it not died: it goes if nothing was
// committed, and those before it, of the same source, go if something was.
func (f *fixer) keepOne(name string) error {
	all, err := f.repo.Snapshots(f.ctx)
	if err != nil && len(all) == 0 {
		return err
	}
	at := slices.IndexFunc(all, func(s *repo.Snapshot) bool { return checkpointName(f.repo, s.ID) == name })
	if at < 0 {
		return f.remove(name, "of a backup that was not committed")
	}
	own, err := ownCheckpoints(f.domain, checkpointPrefix(f.repo))
	if err != nil {
		return err
	}
	for _, one := range notOfOthers(own, f.repo, all, all[at].Source) {
		if one == name {
			continue
		}
		if err := f.remove(one, "as a newer backup was committed"); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixer) remove(checkpoint, why string) error {
	if _, err := f.domain.CheckpointLookupByName(checkpoint, 0); virt.IsCode(err, libvirt.ERR_NO_DOMAIN_CHECKPOINT) {
		return nil
	}
	if err := removeCheckpoint(f.domain, checkpoint); err != nil {
		return fmt.Errorf("removing the checkpoint %s: %w", checkpoint, err)
	}
	f.did("removed the checkpoint %s %s", checkpoint, why)
	return nil
}

// waitUntil asks until it is so, or the time is over.
func waitUntil(ctx context.Context, limit time.Duration, so func() (bool, error)) (bool, error) {
	for end := time.Now().Add(limit); ; {
		ok, err := so()
		if ok || err != nil {
			return ok, err
		}
		if time.Now().After(end) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
