package vm

import (
	"context"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/nbd"
)

const (
	// connections a disk: QEMU's NBD server lets several clients read an export and says so (CAN_MULTI_CONN).
	connections = 2
	// nbdTimeout is the longest silence of an NBD server that owes a reply.
	nbdTimeout = 2 * time.Minute
)

// live is a backup job of a running guest that we began.
type live struct {
	domain  *libvirt.Domain
	guest   *guest
	scratch *scratch
	ran     bool // it was running, not paused, when the job began
	quiesce quiesce
	thawer  *thawer // while the guest may be frozen though it should not
	note    string  // of what a killed run had left
	xml     string  // the live definition when the job began
	disks   []openDisk
}

// beginLive begins the job and opens every disk. The caller calls close, which ends it.
func beginLive(ctx context.Context, d *libvirt.Domain, o *Options) (l *live, err error) {
	l = &live{domain: d}
	if l.guest, l.xml, err = liveGuest(d); err != nil {
		return nil, err
	}
	if err := l.guest.mustHaveDisks(); err != nil {
		return nil, err
	}
	if l.note, err = clearJob(l.guest.name, l.guest.uuid, d); err != nil {
		return nil, err
	}
	if l.scratch, err = makeScratch(o.ScratchDir, l.guest.uuid, l.guest.label); err != nil {
		return nil, fmt.Errorf("VM %q: %w", l.guest.name, err)
	}
	if err = l.begin(ctx, o); err == nil {
		err = l.open(ctx)
	}
	if err != nil {
		if closing := l.close(); closing != nil {
			err = fmt.Errorf("%w (and then: %v)", err, closing)
		}
		return nil, err
	}
	return l, nil
}

// liveGuest reads the definition of a running domain as it is now.
func liveGuest(d *libvirt.Domain) (*guest, string, error) {
	text, err := d.GetXMLDesc(libvirt.DOMAIN_XML_SECURE)
	if err != nil {
		return nil, "", sentence(err)
	}
	g, err := parseGuest(text)
	return g, text, err
}

// begin starts the job, with the guest frozen around it if it can be.
func (l *live) begin(ctx context.Context, o *Options) error {
	job, err := jobXML(l.guest.disks, l.scratch)
	if err != nil {
		return err
	}
	state, _, err := l.domain.GetState()
	if err != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, sentence(err))
	}
	l.ran = state == libvirt.DOMAIN_RUNNING || state == libvirt.DOMAIN_BLOCKED
	begin := func() error {
		if err := l.domain.BackupBegin(job, "", 0); err != nil {
			return beginError(l.guest.name, l.scratch, err)
		}
		return nil
	}
	why, warning := whyNotFrozen(l.guest, state, o.NoQuiesce)
	if why != "" {
		l.quiesce = quiesce{why: why, warning: warning}
		return begin()
	}
	l.quiesce, err = frozenWhile(ctx, l.guest.name, l.domain, agentTimeout, begin)
	if l.quiesce.unsure {
		l.thawer = keepThawing(l.domain)
	}
	return err
}

// open makes sure that the job is of the disks we know, since one may have been plugged in meanwhile (from here on
// libvirt refuses that), and connects to each.
func (l *live) open(ctx context.Context) error {
	now, text, err := liveGuest(l.domain)
	if err != nil {
		return l.explain(err)
	}
	if changed := sameDisks(l.guest, now); changed != "" {
		return fmt.Errorf("VM %q: disk %s was plugged in or out as the job began: try again", l.guest.name, changed)
	}
	l.xml = text
	for _, d := range l.guest.disks {
		c, err := nbd.Dial(ctx, "unix", l.scratch.socket(), nbd.Options{
			Export: d.target, Contexts: []string{nbd.ContextAllocation}, Connections: connections, Timeout: nbdTimeout,
		})
		if err != nil {
			return l.explain(fmt.Errorf("disk %s: %w", d.target, err))
		}
		l.disks = append(l.disks, openDisk{d, c})
	}
	return nil
}

// check makes sure that what was read is the guest at the moment the job began: the job must have lived until now. A
// job that ends early, because its scratch space ran out or somebody aborted it, no longer keeps what is overwritten.
func (l *live) check(context.Context) error {
	if err := l.jobAlive(); err != nil {
		return err
	}
	if l.stalled() {
		return fmt.Errorf("VM %q: no space left for what it overwrites while it is read: free some in %s, or name another place with --scratch-dir", l.guest.name, l.scratch.dir)
	}
	stats, err := l.domain.GetJobStats(0)
	if err != nil || stats.Type != libvirt.DOMAIN_JOB_UNBOUNDED && stats.Type != libvirt.DOMAIN_JOB_BOUNDED {
		return l.gone(err)
	}
	return nil
}

// stalled reports whether QEMU has stopped a guest that ran because a write failed. Where the scratch space is full, it
// does so before the guest can see an error; the write is tried again when the guest goes on.
func (l *live) stalled() bool {
	state, reason, err := l.domain.GetState()
	return err == nil && l.ran && state == libvirt.DOMAIN_PAUSED && reason == int(libvirt.DOMAIN_PAUSED_IOERROR)
}

// jobAlive says why the job is gone, if it is.
func (l *live) jobAlive() error {
	socket, err := jobSocket(l.domain)
	if err == nil && socket == l.scratch.socket() {
		return nil
	}
	return l.gone(err)
}

// gone says what became of the job. That of a guest that is being stopped goes a moment before the guest.
func (l *live) gone(err error) error {
	for range 30 {
		active, err := l.domain.IsActive()
		if err != nil {
			return fmt.Errorf("VM %q: %w", l.guest.name, sentence(err))
		}
		if !active {
			return fmt.Errorf("VM %q stopped while it was being read: start again, it will be read offline", l.guest.name)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("VM %q: its backup job: %w", l.guest.name, sentence(err))
	}
	return fmt.Errorf("VM %q: the backup job ended before everything was read (aborted by someone, or the guest was restarted)", l.guest.name)
}

// explain puts the reason before an error of reading, if it is that the job is gone. QEMU closes its socket a moment
// before libvirt knows.
func (l *live) explain(err error) error {
	for range 10 {
		if gone := l.jobAlive(); gone != nil {
			return fmt.Errorf("%w: %w", gone, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (l *live) opened() []openDisk { return l.disks }

// tell says what is particular to a live read.
func (l *live) tell(r *Result) {
	if l.note != "" {
		r.Notes = append(r.Notes, l.note)
	}
	r.Quiesced, r.Frozen = l.quiesce.String(), l.quiesce.took
	if l.quiesce.warning != "" {
		r.Warnings = append(r.Warnings, l.quiesce.warning)
	}
	tellLeft(l.guest, r)
}

// files are the definitions: what the guest starts from next time, and what it runs with now.
func (l *live) files() ([]file, error) {
	inactive, err := definition(l.domain)
	return []file{{"domain.xml", inactive}, {"domain-live.xml", l.xml}}, err
}

// close ends the job, removes what it used and makes sure that the guest is not left frozen.
func (l *live) close() error {
	for _, d := range l.disks {
		d.Close()
	}
	l.disks = nil
	stalled := l.stalled()
	if l.thawer != nil {
		if err := l.thawer.finish(l.guest.name); err != nil {
			l.quiesce.warning = err.Error()
		}
	}
	if err := endJob(l.domain, l.scratch.socket()); err != nil {
		l.scratch.lock.Close() // the next run finds the job by the directory, and ends it
		return fmt.Errorf("VM %q: %w", l.guest.name, err)
	}
	if err := l.scratch.remove(); err != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, err)
	}
	if !stalled {
		return nil
	}
	if err := l.domain.Resume(); err != nil {
		return fmt.Errorf("VM %q is paused because a write failed: %w; resume it with virsh resume %s", l.guest.name, sentence(err), l.guest.name)
	}
	return nil
}
