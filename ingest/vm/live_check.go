package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"vaultfs/internal/virt"

	"libvirt.org/go/libvirt"
)

// check makes sure that what was read is the guest at the moment the job began: the job must have lived until now. A
// job that ends early, because its scratch space ran out or somebody aborted it, no longer keeps what is overwritten.
func (l *live) check(context.Context) error {
	if err := l.jobAlive(); err != nil {
		return err
	}
	if l.ran && stalled(l.link.reach()) {
		return fmt.Errorf("VM %q: no space left for what it overwrites while it is read: free some in %s, or name another place with --scratch-dir", l.guest.name, l.scratch.dir)
	}
	if err := l.scratch.room(); err != nil {
		return fmt.Errorf("VM %q: the backup was stopped before it would hold up the guest: %w", l.guest.name, err)
	}
	stats, err := l.link.reach().GetJobStats(0)
	if err != nil || stats.Type != libvirt.DOMAIN_JOB_UNBOUNDED && stats.Type != libvirt.DOMAIN_JOB_BOUNDED {
		return l.gone(err)
	}
	return nil
}

// jobAlive says why the job is gone, if it is.
func (l *live) jobAlive() error {
	d := l.link.reach()
	socket, err := jobSocket(d)
	if now := l.link.reach(); err != nil && now != d { // the connection broke meanwhile
		socket, err = jobSocket(now)
	}
	if err == nil && socket == l.scratch.socket() {
		return nil
	}
	return l.gone(err)
}

// gone says what became of the job. That of a guest that is being stopped goes a moment before the guest. A QEMU that is
// about to end waits for its NBD clients, so a guest that is shutting down counts as stopped.
func (l *live) gone(err error) error {
	for range 30 {
		state, _, err := l.link.reach().GetState()
		switch {
		case virt.IsCode(err, libvirt.ERR_NO_DOMAIN), state == libvirt.DOMAIN_SHUTOFF, state == libvirt.DOMAIN_SHUTDOWN, state == libvirt.DOMAIN_CRASHED:
			return fmt.Errorf("VM %q stopped while it was being read: start again, it will be read offline", l.guest.name)
		case err != nil:
			return fmt.Errorf("VM %q: %w", l.guest.name, virt.Sentence(err))
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("VM %q: its backup job: %w", l.guest.name, virt.Sentence(err))
	}
	return fmt.Errorf("VM %q: the backup job ended before everything was read (aborted by someone, or the guest was restarted)", l.guest.name)
}

// explain puts the reason before an error of reading, if it is that the job is gone. QEMU closes its socket a moment
// before libvirt knows; on a busy machine that is seconds, which are waited for only if the connection is lost.
func (l *live) explain(err error) error {
	rounds := 10
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		rounds = 100
	}
	for range rounds {
		if gone := l.jobAlive(); gone != nil {
			return fmt.Errorf("%w: %w", gone, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}
