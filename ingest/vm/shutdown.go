package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// stopped is a guest that ran and was shut down to be read offline. Closing it starts the guest again.
//
// The journal has Restart from before the first order to shut down until libvirt says that the guest runs again, Ordered
// until the guest was seen off, and Off from then on: an order cannot be taken back, so a guest that does not shut down
// in time may still do so when nobody waits for it any more. See shutdown_recover.go for what becomes of that.
type stopped struct {
	*offline
	name    string
	link    *link
	journal *journal
	id      uint // libvirt's number of the running guest; another one means that it was started anew

	reason libvirt.DomainShutoffReason // why it is off
	asked  string                      // who was told: "its agent"
	off    time.Time                   // when it was seen off
	down   time.Duration               // until it ran again
	note   string                      // how it was started again
}

// StillRunning is the error of a guest that was asked to shut down and did not while it was waited for: it is left
// running, may still shut down, and nothing was backed up. What ended the wait is in it.
type StillRunning struct {
	VM    string
	cause error
}

func (e *StillRunning) Error() string {
	return fmt.Sprintf("VM %q %v", e.VM, e.cause)
}

func (e *StillRunning) Unwrap() error { return e.cause }

// beginOff opens the images of a guest that is shut off, or is shut down for it if that was agreed to.
func beginOff(ctx context.Context, r *run) (source, error) {
	active, err := r.domain.IsActive()
	if err != nil {
		return nil, fmt.Errorf("VM %q: %w", r.name, virt.Sentence(err))
	}
	if active && r.options.Mode == ModeOffline && r.options.Shutdown {
		s, err := beginStopped(ctx, r)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	off, err := beginOffline(ctx, r)
	if err != nil {
		return nil, err
	}
	return off, nil
}

// beginStopped shuts the guest down and opens its images. The caller calls close. After an error the guest runs, or
// the error says what it does.
func beginStopped(ctx context.Context, r *run) (_ *stopped, err error) {
	s := &stopped{name: r.name, journal: r.journal}
	if s.link, err = newLink(r.domain); err != nil {
		return nil, fmt.Errorf("VM %q: %w", r.name, err)
	}
	defer func() {
		if err != nil {
			s.link.close()
		}
	}()
	if err := mayStop(r.host, s.link.reach(), r.name); err != nil {
		return nil, fmt.Errorf("VM %q cannot be shut down for --mode offline: %w", r.name, err)
	}
	if err := s.shutDown(ctx, r.options.ShutdownTimeout); err != nil {
		return nil, err
	}
	if s.offline, err = beginOffline(ctx, r); err != nil {
		return nil, s.startAfter(err)
	}
	return s, nil
}

// shutDown tells the guest to shut down, and waits until it is off.
func (s *stopped) shutDown(ctx context.Context, limit time.Duration) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.id, err = runningID(s.link); err != nil {
		return fmt.Errorf("VM %q: %w", s.name, err)
	}
	if err := s.journal.update(func(e *entry) { e.Restart, e.Ordered = true, time.Now().UTC() }); err != nil {
		return err
	}
	ended, err := s.powerOff(ctx, limit)
	if !ended {
		return &StillRunning{s.name, err} // the order stands, and so does the journal's entry
	}
	if err != nil {
		err = fmt.Errorf("VM %q: %w", s.name, err)
		return errors.Join(err, s.journal.update(func(e *entry) { e.Restart, e.Ordered = false, time.Time{} }))
	}
	s.off = time.Now()
	if _, reason, err := s.link.reach().GetState(); err == nil {
		s.reason = libvirt.DomainShutoffReason(reason)
	}
	if err := s.journal.update(func(e *entry) { e.Ordered, e.Off = time.Time{}, s.off.UTC() }); err != nil {
		return s.startAfter(err)
	}
	return nil
}

// close starts the guest again: its images have been read, or will not be.
func (s *stopped) close() error {
	defer s.link.close()
	err := s.offline.close()
	if starting := s.start(); starting != nil {
		err = errors.Join(err, starting)
	}
	return err
}

// startAfter is close after an error on the way.
func (s *stopped) startAfter(err error) error {
	if starting := s.start(); starting != nil {
		return &LeftOtherwise{err, starting}
	}
	return err
}

// start makes the guest run again.
func (s *stopped) start() error {
	found, err := startAgain(s.link, s.name)
	if err != nil {
		return fmt.Errorf("VM %q was running, was shut down to be read, and now %w; the next backup, or vaultfs recover, tries again", s.name, err)
	}
	s.down, s.note = time.Since(s.off), "then started again"
	if found {
		s.note = "then somebody else started it"
	}
	return s.journal.update(func(e *entry) { e.Restart, e.Off = false, time.Time{} })
}

// tell adds how long the guest was down.
func (s *stopped) tell(r *Result) {
	s.offline.tell(r)
	switch s.reason {
	case libvirt.DOMAIN_SHUTOFF_DESTROYED, libvirt.DOMAIN_SHUTOFF_CRASHED, libvirt.DOMAIN_SHUTOFF_FAILED:
		r.Quiesced = "no: the guest was forced off or crashed while it was shutting down"
		r.Warnings = append(r.Warnings, fmt.Sprintf("VM %q did not shut down in good order: it was forced off by somebody, or crashed; the snapshot is what a power failure leaves", s.name))
	}
	if s.note == "" {
		return // it could not be started, which close has said
	}
	r.Down = s.down
	r.Notes = append(r.Notes, fmt.Sprintf("shut down for %v: asked by %s, read, %s", s.down.Round(time.Second), s.asked, s.note))
}
