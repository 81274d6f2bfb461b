package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"vaultfs/internal/virt"

	"libvirt.org/go/libvirt"
)

// agentTimeout is how long the guest agent may take to answer, and a guest be kept frozen.
const agentTimeout = 10 * time.Second

// freezer is the agent of a running guest: a link to libvirt's domain, or a test's.
type freezer interface {
	FSFreeze(mounts []string, flags uint32) error
	FSThaw(mounts []string, flags uint32) error
	GetTime(flags uint32) (seconds int64, nanoseconds uint, err error)
	AgentSetResponseTimeout(seconds int, flags uint32) error
	// lifeline is who thaws the guest if this process does not; nil for a test's that needs none.
	lifeline() (*lifeline, error)
}

// quiesce is how consistent the filesystems were when the job began.
type quiesce struct {
	frozen  bool          // all through the start of the job
	took    time.Duration // from the order to freeze to the answer to thaw
	why     string        // why not frozen
	note    string        // of the state that the guest was found in
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

// tell puts into the result how the guest was quiesced; a warning has its place among the caller's.
func (q quiesce) tell(r *Result) {
	if q.note != "" {
		r.Notes = append(r.Notes, q.note)
	}
	r.Quiesced, r.Frozen = q.String(), q.took
}

// end waits for a thawer, nil if there is none, and tells whether it has thawed the guest. What was thawed at once is not
// in the journal any more.
func (q *quiesce) end(t *thawer, name string) (thawed bool) {
	if t == nil {
		return false
	}
	if err := t.finish(name); err != nil {
		q.warning = err.Error()
		return false
	}
	return true
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

// quiesced calls begin with the guest frozen around it if it can be, and says how that went. A thawer is at work, to be
// finished by the caller, if the guest may be frozen still.
func quiesced(ctx context.Context, l *link, g *guest, state libvirt.DomainState, o *Options, j *journal, begin func() error) (q quiesce, t *thawer, err error) {
	if why, warning := whyNotFrozen(g, state, o.NoQuiesce); why != "" {
		return quiesce{why: why, warning: warning}, nil, begin()
	}
	if err := j.update(func(e *entry) { e.Freezing, e.Running = true, running(l.reach()) }); err != nil {
		return q, nil, err
	}
	q, err = frozenWhile(ctx, g.name, l, agentTimeout, begin)
	if q.unsure {
		return q, keepThawing(l), err
	}
	return q, nil, errors.Join(err, j.update(func(e *entry) { e.Freezing = false }))
}

// running tells one run of a guest from another, also over a restart of the host; "" of a guest that is off.
func running(d *libvirt.Domain) string {
	id, err := d.GetID()
	boot, err2 := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || err2 != nil {
		return ""
	}
	return fmt.Sprintf("%d of boot %s", id, strings.TrimSpace(string(boot)))
}

// frozenWhile freezes all filesystems of a guest together, calls begin, and thaws, also if begin panics and whatever
// becomes of the context; if this process is killed another one thaws. The agent has the timeout to answer, and the
// guest is kept frozen no longer than that: if begin takes longer the guest is thawed under it, and counts as not
// frozen. An agent that fails does not keep begin from being called.
func frozenWhile(ctx context.Context, name string, d freezer, timeout time.Duration, begin func() error) (q quiesce, err error) {
	if err := ctx.Err(); err != nil {
		return q, err
	}
	defer answerWithin(d, timeout)()
	// An order to freeze waits in the channel of an agent that hangs, and is carried out whenever the agent goes on. So
	// the agent is asked something harmless first, the time.
	if _, _, err := d.GetTime(0); noAnswer(err) {
		return silent(name, err), begin()
	}
	line, err := d.lifeline()
	if err != nil {
		return quiesce{
			why:     "there is nobody to thaw the guest should this process die: " + err.Error(),
			warning: fmt.Sprintf("VM %q was not frozen: there is nobody to thaw it should this process die: %v", name, err),
		}, begin()
	}
	h := &hold{guest: d, lifeline: line, since: time.Now()}
	if failed := h.freeze(name); failed != nil {
		return *failed, begin()
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
	guest    freezer
	lifeline *lifeline
	since    time.Time // of the order to freeze
	note     string
	once     sync.Once
	// Set by thaw:
	took  time.Duration
	early bool // the guard thawed it before the job had begun
	err   error
}

// freeze says what failed, with the guest thawed; nil means that it is frozen. An agent refuses to freeze a guest that
// is frozen already, so one that refuses is told to thaw and asked again.
func (h *hold) freeze(name string) (failed *quiesce) {
	first := h.guest.FSFreeze(nil, 0)
	if first == nil {
		return nil
	}
	thaw := h.guest.FSThaw(nil, 0)
	if thaw == nil && refused(first) {
		h.since = time.Now()
		if h.guest.FSFreeze(nil, 0) == nil {
			h.note = "the guest was found frozen, as a backup that was killed leaves it: it was thawed"
			return nil
		}
		thaw = h.guest.FSThaw(nil, 0)
	}
	q := failedFreeze(name, first)
	q.unsure = thaw != nil && !(refused(first) && refused(thaw))
	h.lifeline.end(!q.unsure)
	return &q
}

func (h *hold) thaw(early bool) {
	h.once.Do(func() {
		h.early, h.err = early, thawGuest(h.guest)
		h.took = time.Since(h.since)
		h.lifeline.end(h.err == nil)
	})
}

func (h *hold) result(name string) quiesce {
	q := quiesce{frozen: !h.early, took: h.took, note: h.note}
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

// noAnswer reports whether a call failed because the agent did not answer in time.
func noAnswer(err error) bool {
	return virt.IsCode(err, libvirt.ERR_AGENT_COMMAND_TIMEOUT) || virt.IsCode(err, libvirt.ERR_AGENT_UNRESPONSIVE)
}

// refused reports whether the agent itself answered that it will not do as told: nothing is frozen by that, nor will be.
// Any other failure, such as one of the connection to libvirt, tells nothing of what the agent did or will do.
func refused(err error) bool {
	var e libvirt.Error
	return errors.As(err, &e) && e.Domain == libvirt.FROM_QEMU && !noAnswer(err)
}

func silent(name string, err error) quiesce {
	return quiesce{
		why:     "the guest agent did not answer in time",
		warning: fmt.Sprintf("VM %q was not frozen: the guest agent did not answer in time (%v)", name, virt.Sentence(err)),
	}
}

func failedFreeze(name string, err error) quiesce {
	switch {
	case noAnswer(err):
		return silent(name, err)
	case refused(err):
		return quiesce{
			why:     "the guest agent failed: " + virt.Sentence(err).Error(),
			warning: fmt.Sprintf("VM %q was not frozen: the guest agent failed: %v", name, virt.Sentence(err)),
		}
	}
	return quiesce{
		why:     "libvirt failed: " + virt.Sentence(err).Error(),
		warning: fmt.Sprintf("VM %q was not frozen: libvirt failed: %v", name, virt.Sentence(err)),
	}
}
