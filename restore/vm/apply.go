package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
	"vaultfs/restore"
)

// apply makes what was planned: the files, then the domain. After an error nothing of it is left, except with
// ErrUndecided.
func (p *plan) apply(ctx context.Context) (_ *libvirt.Domain, err error) {
	var made undo
	defer func() {
		switch {
		case errors.Is(err, ErrUndecided):
			err = fmt.Errorf("VM %q: %w", p.name, err)
		case err != nil:
			err = fmt.Errorf("VM %q: %w", p.name, made.all(err))
		}
	}()
	for _, dir := range p.needs() {
		dirs, err := makeDirs(dir)
		for _, d := range dirs {
			made.add(d, os.Remove)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, f := range p.files {
		w, err := restore.Item(ctx, p.repo, p.snap, f.item, f.path, restore.Options{Format: f.format, Progress: p.options.Progress})
		if err != nil {
			return nil, err
		}
		made.add(f.path, os.Remove)
		p.result.Written = append(p.result.Written, w)
	}
	if p.tpm != nil {
		w, err := p.tpm.write()
		if err != nil {
			return nil, err
		}
		made.add(p.tpm.dir, os.RemoveAll)
		p.result.Written = append(p.result.Written, w)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.reconnect(ctx); err != nil {
		return nil, err
	}
	return p.define(ctx)
}

const (
	// awayTime is how long libvirt may be away, as it is when its daemon is restarted, before it is given up.
	awayTime = 30 * time.Second
	// redialPause is between two tries to reach it again.
	redialPause = 500 * time.Millisecond
)

// reconnect reaches libvirt anew: writing the disks may have taken hours, and a connection does not outlive its daemon.
func (p *plan) reconnect(ctx context.Context) error {
	for end := time.Now().Add(awayTime); ; time.Sleep(redialPause) {
		h, err := p.connect(p.host.URI)
		if err == nil {
			p.host.Close()
			p.host = h
			return nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
}

// startTime is how long libvirt may take until it calls a guest running that it has started.
const startTime = time.Minute

// start starts the guest. One that does not start stays defined: what is missing is likely not in the backup.
func (p *plan) start(ctx context.Context, d *libvirt.Domain) error {
	err := d.Create()
	for end := time.Now().Add(startTime); err == nil && !p.result.Started; time.Sleep(100 * time.Millisecond) {
		var state libvirt.DomainState
		state, _, err = d.GetState()
		switch {
		case err != nil:
		case state == libvirt.DOMAIN_RUNNING || state == libvirt.DOMAIN_BLOCKED:
			p.result.Started = true
		case state == libvirt.DOMAIN_SHUTOFF || state == libvirt.DOMAIN_CRASHED:
			err = fmt.Errorf("it stopped at once, see /var/log/libvirt/qemu/%s.log", filepath.Base(p.name))
		case time.Now().After(end):
			err = fmt.Errorf("it is not running after %v", startTime)
		case ctx.Err() != nil:
			err = ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("VM %q is restored and defined, but %w: %w; set that right, then start it", p.name, ErrNotStarted, virt.Sentence(err))
	}
	return nil
}

// undo is what was made, in the order it was.
type undo []struct {
	path   string
	remove func(string) error
}

func (u *undo) add(path string, remove func(string) error) {
	*u = append(*u, struct {
		path   string
		remove func(string) error
	}{path, remove})
}

// all removes everything, the last first, and tells beside the error what became of it.
func (u undo) all(err error) error {
	if len(u) == 0 {
		return fmt.Errorf("%w; nothing was made", err)
	}
	for i := len(u) - 1; i >= 0; i-- {
		if failed := u[i].remove(u[i].path); failed != nil {
			return fmt.Errorf("%w; and what had been made could not all be removed: %v", err, failed)
		}
	}
	return fmt.Errorf("%w; what had been made was removed", err)
}
