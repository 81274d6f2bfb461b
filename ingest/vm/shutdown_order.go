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
		if ended, err := s.look(agent); ended || err != nil {
			return ended, err
		}
		if time.Since(begun) > limit {
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

// look sees what became of the order.
func (s *stopped) look(agent *agentWatch) (ended bool, err error) {
	switch id, err := runningID(s.link); {
	case err != nil:
		return false, fmt.Errorf("was asked to shut down, and libvirt does not say what became of that: %w; nothing was backed up", err)
	case id == 0:
		return true, nil
	case id != s.id:
		return true, errors.New("it shut down and something started it again at once, such as a cluster manager or a watchdog script: nothing was backed up; stop that first, or use --mode live")
	case agent.restarted():
		return false, errors.New("has restarted instead of shutting down, or its agent has while it still shuts down: it is left running; nothing was backed up; shut it down yourself, or use --mode live. Should it shut down within the next hours, the next backup or vaultfs recover starts it again")
	}
	return false, nil
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

// runningID is libvirt's number of a running guest, which is new each time that it is started; 0 of one that is off. It
// asks again if the connection broke meanwhile.
func runningID(l *link) (uint, error) {
	d := l.reach()
	id, err := runningIDOf(d, l.uuid)
	if now := l.reach(); err != nil && now != d {
		id, err = runningIDOf(now, l.uuid)
	}
	return id, err
}

// runningIDOf looks the domain up anew, since the library remembers the number in it.
func runningIDOf(known *libvirt.Domain, uuid string) (uint, error) {
	conn, err := known.DomainGetConnect()
	if err != nil {
		return 0, virt.Sentence(err)
	}
	defer conn.Close()
	d, err := conn.LookupDomainByUUIDString(uuid)
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

// agentWatch notices that a guest restarts: its agent goes, and comes again. An agent may do so alone too, in a guest that
// is still to go off, so that does not tell that an order to shut down is not obeyed any more.
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
