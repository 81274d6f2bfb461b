package vm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"libvirt.org/go/libvirt"
)

const (
	// agentTimeout is how long the guest agent may take to answer, and a guest be kept frozen.
	agentTimeout = 10 * time.Second
	// thawTries is how often a thaw that failed is tried again at once.
	thawTries = 3
)

// freezer is the agent of a running guest: libvirt's domain, or a test's.
type freezer interface {
	FSFreeze(mounts []string, flags uint32) error
	FSThaw(mounts []string, flags uint32) error
	GetTime(flags uint32) (seconds int64, nanoseconds uint, err error)
	AgentSetResponseTimeout(seconds int, flags uint32) error
}

// quiesce is how consistent the filesystems were when the job began.
type quiesce struct {
	frozen  bool          // all through the start of the job
	took    time.Duration // from the order to freeze to the answer to thaw
	why     string        // why not frozen
	warning string        // of something that should have worked, for exit status 3
	unsure  bool          // the guest may still be frozen, or freeze later
}

// String is what the manifest says.
func (q quiesce) String() string {
	if q.frozen {
		return fmt.Sprintf("yes: frozen for %v", q.took.Round(time.Millisecond))
	}
	return "no: " + q.why
}

// whyNotFrozen says why freezing is not tried; "" when it is. A warning is due where an agent is expected.
func whyNotFrozen(g *guest, state libvirt.DomainState, noQuiesce bool) (why, warning string) {
	switch {
	case noQuiesce:
		return "not asked for", ""
	case state != libvirt.DOMAIN_RUNNING && state != libvirt.DOMAIN_BLOCKED:
		return fmt.Sprintf("the guest is %s", stateName(state)), ""
	case !g.agent.channel:
		return "no guest agent", ""
	case !g.agent.connected:
		return "the guest agent is not running", fmt.Sprintf(
			"VM %q was not frozen: it has a channel for the guest agent but no agent answers on it (install or start qemu-guest-agent in the guest, or use --no-quiesce)", g.name)
	}
	return "", ""
}

// frozenWhile freezes all filesystems of a guest together, calls begin, and thaws, also if begin panics and whatever
// becomes of the context. The agent has the timeout to answer, and the guest is kept frozen no longer than that: if
// begin takes longer the guest is thawed under it, and counts as not frozen. An agent that fails does not keep begin
// from being called.
func frozenWhile(ctx context.Context, name string, d freezer, timeout time.Duration, begin func() error) (q quiesce, err error) {
	if err := ctx.Err(); err != nil {
		return q, err
	}
	// libvirt's calls cannot be cancelled, so the agent is given a time to answer. What it was before cannot be asked;
	// to wait without end is libvirt's default.
	if err := d.AgentSetResponseTimeout(int(max(timeout, time.Second)/time.Second), 0); err == nil {
		defer d.AgentSetResponseTimeout(int(libvirt.DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK), 0)
	}
	// An order to freeze waits in the channel of an agent that hangs, and is carried out whenever the agent goes on. So
	// the agent is asked something harmless first, the time.
	if _, _, err := d.GetTime(0); noAnswer(err) {
		return silent(name, err), begin()
	}
	h := &hold{guest: d, since: time.Now()}
	if err := d.FSFreeze(nil, 0); err != nil {
		return failedFreeze(name, d, err), begin()
	}
	guard := time.AfterFunc(timeout, func() { h.thaw(true) })
	defer func() {
		guard.Stop()
		h.thaw(false)
		q = h.result(name)
	}()
	return q, begin()
}

// hold is a guest that is frozen.
type hold struct {
	guest freezer
	since time.Time
	once  sync.Once
	// Set by thaw:
	took  time.Duration
	early bool // the guard thawed it before the job had begun
	err   error
}

func (h *hold) thaw(early bool) {
	h.once.Do(func() {
		h.early, h.err = early, thawGuest(h.guest)
		h.took = time.Since(h.since)
	})
}

func (h *hold) result(name string) quiesce {
	q := quiesce{frozen: !h.early, took: h.took}
	if h.early {
		q.why = "the job took too long to begin, the guest was thawed before"
		q.warning = fmt.Sprintf("VM %q was not frozen: the backup job took too long to begin, so the guest was thawed before", name)
	}
	if h.err != nil {
		q.unsure = true
		q.warning = stuck(name, h.err)
	}
	return q
}

// thawGuest tries a few times: an agent under load may answer late.
func thawGuest(d freezer) (err error) {
	for range thawTries {
		if err = d.FSThaw(nil, 0); err == nil {
			return nil
		}
	}
	return sentence(err)
}

// noAnswer reports whether a call failed because the agent did not answer in time.
func noAnswer(err error) bool {
	return isCode(err, libvirt.ERR_AGENT_COMMAND_TIMEOUT) || isCode(err, libvirt.ERR_AGENT_UNRESPONSIVE)
}

func silent(name string, err error) quiesce {
	return quiesce{
		why:     "the guest agent did not answer in time",
		warning: fmt.Sprintf("VM %q was not frozen: the guest agent did not answer in time (%v)", name, sentence(err)),
	}
}

// failedFreeze tells an agent that refused, which has frozen nothing, from one that did not answer in time and may
// still do as it was told. That one is thawed at once, and unsure if that failed too.
func failedFreeze(name string, d freezer, err error) quiesce {
	if noAnswer(err) {
		q := silent(name, err)
		q.unsure = d.FSThaw(nil, 0) != nil
		return q
	}
	return quiesce{
		why:     "the guest agent failed: " + sentence(err).Error(),
		warning: fmt.Sprintf("VM %q was not frozen: the guest agent failed: %v", name, sentence(err)),
	}
}

// thawer keeps trying to thaw a guest that may be frozen, or may freeze when its agent comes to the order, for as long
// as the guest is being read. The agent takes orders in turn: once it has answered to a thaw, no freeze is waiting.
type thawer struct {
	stop, ended chan struct{}
	err         error // of the last try; read it after ended
}

// thawPause is between two tries.
const thawPause = 2 * time.Second

func keepThawing(d freezer) *thawer {
	t := &thawer{stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		for {
			if t.err = d.FSThaw(nil, 0); t.err == nil {
				return
			}
			select {
			case <-t.stop:
				return
			case <-time.After(thawPause):
			}
		}
	}()
	return t
}

// finish waits for the try that is going on; an error says what to do.
func (t *thawer) finish(name string) error {
	close(t.stop)
	<-t.ended
	if t.err == nil {
		return nil
	}
	return errors.New(stuck(name, sentence(t.err)))
}

func stuck(name string, err error) string {
	return fmt.Sprintf("VM %q may still be frozen, its guest agent does not answer (%v): when it does, run virsh domfsthaw %s", name, err, name)
}
