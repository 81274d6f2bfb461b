package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
	"vaultfs/repo"
)

// Ingest backs a guest up as one snapshot of the source "vm/NAME": its disks in the order of its definition, then what
// else makes the guest, then report.md. After an error nothing is committed; either way the guest is left as it was
// found. What an earlier run that died has left of this guest is set right first.
func Ingest(ctx context.Context, r *repo.Repo, name string, o Options) (*Result, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	h, err := virt.Connect(o.Connect)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	d, err := h.Lookup(name)
	if err != nil {
		return nil, err
	}
	defer d.Free()
	source, err := o.sourceName(name)
	if err != nil {
		return nil, err
	}
	one := &run{repo: r, host: h, domain: d, name: name, source: "vm/" + source, options: &o, result: new(Result)}
	if one.uuid, err = d.GetUUIDString(); err != nil {
		return nil, fmt.Errorf("VM %q: %w", name, virt.Sentence(err))
	}
	if one.journal, err = openJournal(o.StateDir, entry{VM: name, UUID: one.uuid, URI: h.URI}); err != nil {
		return nil, fmt.Errorf("VM %q: %w", name, err)
	}
	defer one.journal.close()
	if err := one.backup(ctx); err != nil {
		return nil, err
	}
	return one.result, nil
}

// run is one backup of one guest.
type run struct {
	repo       *repo.Repo
	host       *virt.Host
	domain     *libvirt.Domain
	name, uuid string // of the guest
	source     string // "vm/NAME"
	options    *Options
	journal    *journal
	plan       plan
	checkpoint string  // the name of the one to be made
	read       int64   // bytes of its disks
	audited    []int64 // bytes, by disk
	result     *Result
}

// backup makes the snapshot.
func (r *run) backup(ctx context.Context) (err error) {
	if err := r.recover(ctx); err != nil {
		return err
	}
	if r.result.Mode, err = r.mode(); err != nil {
		return err
	}
	r.plan = newPlan(ctx, r.repo, r.domain, r.source, r.options)
	s, err := r.repo.NewSession(ctx, repo.SessionOptions{
		Source: r.source, Kind: "vm", Machine: r.uuid, Adopt: r.options.Adopt, Tags: r.options.Tags, Verify: r.options.Verify, Base: r.plan.base, GoOn: true,
	})
	if err != nil {
		return err
	}
	defer s.Abort(context.WithoutCancel(ctx))
	r.checkpoint = checkpointName(r.repo, s.ID())
	r.plan.open(ctx, s)
	err = r.ingest(ctx, s)
	if err == nil {
		r.options.reached("ended")
		r.result.Snapshot, err = s.Commit(ctx, r.info())
	}
	if err != nil {
		return errors.Join(err, r.dropCheckpoint())
	}
	r.options.reached("committed")
	r.keepCheckpoint()
	return nil
}

func (r *run) mode() (string, error) {
	active, err := r.domain.IsActive()
	if err != nil {
		return "", fmt.Errorf("VM %q: %w", r.name, virt.Sentence(err))
	}
	return r.options.choose(r.name, active)
}

// ingest copies the guest into the session, and makes sure of what it copied. When it returns the guest is as it was.
func (r *run) ingest(ctx context.Context, s *repo.Session) (err error) {
	src, err := r.begin(ctx)
	if err != nil {
		return err
	}
	files, err := r.copyAll(ctx, s, src)
	closing := src.close()
	src.tell(r.result)
	if r.result.Mode == ModeLive && r.plan.unmade != "" && !r.options.NoCheckpoint {
		r.result.Notes = append(r.result.Notes, "no checkpoint is kept for the next backup: "+r.plan.unmade)
	}
	switch {
	case closing != nil && err != nil:
		return &LeftOtherwise{err, closing}
	case closing != nil:
		r.result.Warnings = append(r.result.Warnings, closing.Error())
	case err != nil:
		return err
	}
	files = append(files, file{"report.md", r.report(s)})
	for _, f := range files {
		if _, err := s.AddFile(ctx, f.name, strings.NewReader(f.text)); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// copyAll copies the disks, and returns the files that belong to them.
func (r *run) copyAll(ctx context.Context, s *repo.Session, src source) ([]file, error) {
	before := r.options.Progress.Read.Load()
	watched, finish := watch(ctx, src)
	r.options.reached("reading")
	err := r.copyDisks(watched, s, src)
	r.options.reached("read")
	if reason := finish(); reason != nil && ctx.Err() == nil {
		return nil, reason
	}
	if err != nil {
		return nil, err
	}
	r.read = r.options.Progress.Read.Load() - before
	if err := src.check(ctx); err != nil {
		return nil, err
	}
	return src.files()
}

// begin opens the guest's disks the way the mode says.
func (r *run) begin(ctx context.Context) (source, error) {
	if r.result.Mode == ModeLive && r.options.Method == MethodSnapshot {
		o, err := beginOverlay(ctx, r)
		if err != nil {
			return nil, err
		}
		return o, nil
	}
	if r.result.Mode == ModeLive {
		l, err := beginLive(ctx, r)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	return beginOff(ctx, r)
}

// info is what the snapshot tells of itself.
func (r *run) info() repo.Info {
	o, result := r.options, r.result
	info := repo.Info{
		Machine: r.uuid, Program: o.Program, Mode: result.Mode, Method: result.Method, Quiesced: result.Quiesced,
		Notes:   append(append([]string{}, result.Notes...), result.Warnings...),
		Summary: repo.Summary{BytesRead: r.read},
	}
	for _, d := range result.Disks {
		info.Summary.BytesDirty += d.Dirty
	}
	return info
}
