package vm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirt"

	"vaultfs/ingest"
	"vaultfs/internal/virt"
	"vaultfs/repo"
)

// Ingest backs a guest up as one snapshot of the source "vm/NAME": its disks in the order of its definition, then
// domain.xml, and domain-live.xml of a guest that runs. After an error nothing is committed; either way the guest is
// left as it was found.
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
	mode, uuid, err := modeOf(d, name, &o)
	if err != nil {
		return nil, err
	}
	s, err := r.NewSession(ctx, repo.SessionOptions{
		Source: "vm/" + source, Kind: "vm", Machine: uuid, Adopt: o.Adopt, Verify: o.Verify,
	})
	if err != nil {
		return nil, err
	}
	defer s.Abort(context.WithoutCancel(ctx))
	result := &Result{Mode: mode}
	if err := result.ingest(ctx, s, h, d, &o); err != nil {
		return nil, err
	}
	result.Snapshot, err = s.Commit(ctx, result.info(&o, uuid))
	return result, err
}

func modeOf(d *libvirt.Domain, name string, o *Options) (mode, uuid string, err error) {
	active, err := d.IsActive()
	if err != nil {
		return "", "", fmt.Errorf("VM %q: %w", name, virt.Sentence(err))
	}
	if uuid, err = d.GetUUIDString(); err != nil {
		return "", "", fmt.Errorf("VM %q: %w", name, virt.Sentence(err))
	}
	mode, err = o.choose(name, active)
	return mode, uuid, err
}

// ingest copies the guest into the session, and makes sure of what it copied. When it returns the guest is as it was.
func (r *Result) ingest(ctx context.Context, s *repo.Session, h *virt.Host, d *libvirt.Domain, o *Options) (err error) {
	src, err := begin(ctx, r.Mode, h, d, o)
	if err != nil {
		return err
	}
	defer func() {
		if closing := src.close(); closing != nil && err != nil {
			err = fmt.Errorf("%w (and then: %v)", err, closing)
		} else if closing != nil {
			r.Warnings = append(r.Warnings, closing.Error())
		}
		src.tell(r)
	}()
	before := o.Progress.Read.Load()
	watched, finish := watch(ctx, src)
	err = copyDisks(watched, s, src, o.Progress)
	if reason := finish(); reason != nil && ctx.Err() == nil {
		return reason
	}
	if err != nil {
		return err
	}
	r.read = o.Progress.Read.Load() - before
	if err := src.check(ctx); err != nil {
		return err
	}
	files, err := src.files()
	if err != nil {
		return err
	}
	for _, f := range files {
		if _, err := s.AddFile(ctx, f.name, strings.NewReader(f.text)); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// begin opens the guest's disks the way the mode says.
func begin(ctx context.Context, mode string, h *virt.Host, d *libvirt.Domain, o *Options) (source, error) {
	if mode == ModeLive {
		l, err := beginLive(ctx, d, o)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	off, err := beginOffline(ctx, h, d)
	if err != nil {
		return nil, err
	}
	return off, nil
}

// copyDisks copies one disk after the other; each is read by several goroutines.
func copyDisks(ctx context.Context, s *repo.Session, src source, p *ingest.Progress) error {
	for _, d := range src.opened() {
		total, err := ingest.DataBytes(ctx, d)
		if err != nil {
			return readError(ctx, src, d, err)
		}
		p.Total.Add(total)
	}
	for _, d := range src.opened() {
		root, err := ingest.CopyDisk(ctx, s, d, p)
		if err != nil {
			return readError(ctx, src, d, err)
		}
		it := repo.Item{Name: d.target, Kind: repo.ItemDisk, Size: d.Size(), Root: root}
		it.Path, it.Format = d.path, d.format
		if err := s.AddItem(it); err != nil {
			return err
		}
	}
	return nil
}

// readError names the disk, and what happened to the guest if that is why.
func readError(ctx context.Context, src source, d openDisk, err error) error {
	err = fmt.Errorf("disk %s: %w", d.target, err)
	if ctx.Err() != nil || errors.Is(err, repo.ErrNoSpace) {
		return err
	}
	return src.explain(err)
}

// info is what the snapshot tells of itself.
func (r *Result) info(o *Options, uuid string) repo.Info {
	return repo.Info{
		Machine: uuid, Program: o.Program, Mode: r.Mode, Quiesced: r.Quiesced,
		Notes:   append(slices.Clone(r.Notes), r.Warnings...),
		Summary: repo.Summary{BytesRead: r.read},
	}
}
