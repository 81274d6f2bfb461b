package vm

import (
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// close ends the job, removes what it used and makes sure that the guest is left neither frozen nor stalled. The
// checkpoint stays, for the commit.
func (l *live) close() error {
	defer l.link.close()
	for _, d := range l.disks {
		d.Close()
	}
	l.disks = nil
	thawed := l.quiesce.end(l.thawer, l.guest.name)
	failed := l.endJob()
	// Whether the job ended or not: until it does, its guest may come to stall.
	if err := l.resume(); failed == nil {
		failed = err
	}
	recorded := l.journal.update(func(e *entry) {
		e.Freezing = e.Freezing && !thawed
		if failed == nil {
			e.Scratch = ""
		}
	})
	if failed = errors.Join(failed, recorded); failed != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, failed)
	}
	return nil
}

// endJob ends the job and gives up its directory.
func (l *live) endJob() error {
	d := l.link.reach()
	err := endJob(d, l.scratch.socket())
	if now := l.link.reach(); err != nil && now != d { // the connection broke meanwhile
		err = endJob(now, l.scratch.socket())
	}
	if err != nil {
		l.scratch.lock.Close() // the next run finds the job by the directory, and ends it
		return err
	}
	return l.scratch.remove()
}

// resume lets a guest go on that stalled while it was read.
func (l *live) resume() error {
	if !l.ran {
		return nil
	}
	_, err := resumeStalled(l.link.reach(), l.guest.name)
	return err
}

// stalled reports whether QEMU has stopped a guest because a write failed. Where the scratch space is full, it does so
// before the guest can see an error, and the write is tried again when the guest goes on; not with every error_policy,
// see space_policy.go.
func stalled(d *libvirt.Domain) bool {
	state, reason, err := d.GetState()
	return err == nil && state == libvirt.DOMAIN_PAUSED && reason == int(libvirt.DOMAIN_PAUSED_IOERROR)
}

// resumeStalled lets a guest go on if it is stalled.
func resumeStalled(d *libvirt.Domain, name string) (resumed bool, err error) {
	if !stalled(d) {
		return false, nil
	}
	if err := d.Resume(); err != nil {
		return false, fmt.Errorf("it is paused because a write failed: %w; resume it with virsh resume %s", virt.Sentence(err), name)
	}
	return true, nil
}
