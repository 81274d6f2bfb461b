package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

const (
	// agentGrace is how long a guest whose agent was told to shut it down has, before its power button is pressed too.
	agentGrace = 30 * time.Second
	// pressPause is between two presses: a guest misses one while it boots, and one that is shutting down ignores it.
	pressPause = 15 * time.Second
	// shutdownPause is between two looks at a guest that was told to shut down.
	shutdownPause = 250 * time.Millisecond
)

// stopped is a guest that ran and was shut down to be read offline. Closing it starts the guest again.
//
// The journal has Restart from before the first order to shut down until libvirt says that the guest runs again, and
// Ordered until the guest was seen off: an order cannot be taken back, so a guest that does not shut down in time may
// still do so when nobody waits for it any more. See shutdown_recover.go for what becomes of that.
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
	if err := s.journal.update(func(e *entry) { e.Ordered = time.Time{} }); err != nil {
		return s.startAfter(err)
	}
	return nil
}

// powerOff tells the guest to shut down, by its agent and then by the power button, until it is off. Ended says that no
// order of ours is at work any more: the guest is off, or there is an error and it goes on running.
func (s *stopped) powerOff(ctx context.Context, limit time.Duration) (ended bool, err error) {
	begun := time.Now()
	agent := newAgentWatch(s.link)
	answer := s.tellAgent(agent.present)
	press := begun
	if agent.present {
		press = begun.Add(min(agentGrace, limit/2))
	}
	for {
		switch id, err := runningID(s.link); {
		case err != nil:
			return false, fmt.Errorf("was asked to shut down, and libvirt does not say what became of that: %w; nothing was backed up", err)
		case id == 0:
			return true, nil
		case id != s.id:
			return true, errors.New("it shut down and something started it again at once, such as a cluster manager or a watchdog script: nothing was backed up; stop that first, or use --mode live")
		case agent.restarted():
			return true, errors.New("it restarted instead of shutting down, and runs: nothing was backed up; shut it down yourself, or use --mode live")
		case time.Since(begun) > limit:
			return false, s.tooSlow(limit)
		}
		select {
		case <-ctx.Done():
			if s.asked == "" {
				return true, ctx.Err()
			}
			return false, fmt.Errorf("was asked to shut down (by %s), and the wait for that was ended: it is left running and may still shut down; nothing was backed up: %w", s.asked, ctx.Err())
		case err := <-answer:
			if answer = nil; err != nil {
				press = time.Now()
			}
		case <-time.After(shutdownPause):
		}
		if time.Now().Before(press) {
			continue
		}
		if err := s.press(); err != nil && s.asked == "" {
			return true, fmt.Errorf("it cannot be told to shut down: %w; shut it down yourself, or use --mode live", err)
		}
		press = time.Now().Add(pressPause)
	}
}

// tooSlow is the error of a guest that takes longer to shut down than it may.
func (s *stopped) tooSlow(limit time.Duration) error {
	return fmt.Errorf("was asked to shut down (by %s) and has not within %v: it is left running and may still shut down; nothing was backed up. Give it longer with --shutdown-timeout, shut it down yourself, or use --mode live. Should it shut down within the next hours, the next backup or vaultfs recover starts it again",
		s.asked, limit)
}

// tellAgent has the agent shut the guest down. libvirt's call ends only when the guest does, or after a minute, so it is
// not waited for: the answer is a failure, or nothing of interest.
func (s *stopped) tellAgent(present bool) <-chan error {
	if !present {
		return nil
	}
	d := s.link.reach()
	if d.Ref() != nil {
		return nil
	}
	answer := make(chan error, 1)
	s.asked = "its agent"
	go func() {
		defer d.Free()
		answer <- d.ShutdownFlags(libvirt.DOMAIN_SHUTDOWN_GUEST_AGENT)
	}()
	return answer
}

// press presses the power button.
func (s *stopped) press() error {
	if err := s.link.reach().ShutdownFlags(libvirt.DOMAIN_SHUTDOWN_ACPI_POWER_BTN); err != nil {
		return virt.Sentence(err)
	}
	switch s.asked {
	case "":
		s.asked = "its power button"
	case "its agent":
		s.asked = "its agent and its power button"
	}
	return nil
}

// runningID is libvirt's number of a running guest, which is new each time that it is started; 0 of one that is off.
// The library remembers it in the domain, so that is looked up anew.
func runningID(l *link) (uint, error) {
	conn, err := l.reach().DomainGetConnect()
	if err != nil {
		return 0, virt.Sentence(err)
	}
	defer conn.Close()
	d, err := conn.LookupDomainByUUIDString(l.uuid)
	if err != nil {
		return 0, virt.Sentence(err)
	}
	defer d.Free()
	id, err := d.GetID()
	if err != nil {
		return 0, nil
	}
	return id, nil
}

// agentWatch notices that a guest restarts: its agent goes, and comes again.
type agentWatch struct {
	link    *link
	present bool // there was one to begin with
	gone    bool
}

func newAgentWatch(l *link) *agentWatch {
	g, _, err := liveGuest(l.reach())
	return &agentWatch{link: l, present: err == nil && g.agent.connected}
}

func (a *agentWatch) restarted() bool {
	if !a.present {
		return false
	}
	g, _, err := liveGuest(a.link.reach())
	if err != nil || g.agent.connected == !a.gone {
		return false
	}
	if !a.gone {
		a.gone = true
		return false
	}
	return true
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
		return fmt.Errorf("%w (and then: %v)", err, starting)
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
	return s.journal.update(func(e *entry) { e.Restart = false })
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
