package vm

import (
	"context"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/nbd"
	"vaultfs/internal/virt"
)

const (
	// connections a disk: QEMU's NBD server lets several clients read an export and says so (CAN_MULTI_CONN).
	connections = 2
	// nbdTimeout is the longest silence of an NBD server that owes a reply.
	nbdTimeout = 2 * time.Minute
)

// live is a backup job of a running guest that we began.
type live struct {
	link    *link
	guest   *guest
	scratch *scratch
	ran     bool // it was running, not paused, when the job began
	quiesce quiesce
	thawer  *thawer  // while the guest may be frozen though it should not
	notes   []string // of what a killed run had left
	warning string   // of a guest that it may have left frozen
	xml     string   // the live definition when the job began
	disks   []openDisk
}

// beginLive begins the job and opens every disk. The caller calls close, which ends it.
func beginLive(ctx context.Context, d *libvirt.Domain, o *Options) (l *live, err error) {
	l = new(live)
	if l.link, err = newLink(d); err != nil {
		return nil, err
	}
	if err := l.prepare(d, o); err != nil {
		l.link.close()
		return nil, err
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

// prepare makes sure that a job can begin: it clears what a killed run left, and takes the scratch directory.
func (l *live) prepare(d *libvirt.Domain, o *Options) (err error) {
	if l.guest, l.xml, err = liveGuest(d); err != nil {
		return err
	}
	if err := l.guest.mustHaveDisks(); err != nil {
		return err
	}
	if l.notes, err = clearJob(l.guest.name, l.guest.uuid, d); err != nil {
		return err
	}
	if l.scratch, err = makeScratch(o.ScratchDir, l.guest.uuid, l.guest.label); err != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, err)
	}
	if o.keepFree != nil {
		l.scratch.keepFree = o.keepFree
	}
	return nil
}

// liveGuest reads the definition of a running domain as it is now.
func liveGuest(d *libvirt.Domain) (*guest, string, error) {
	text, err := d.GetXMLDesc(libvirt.DOMAIN_XML_SECURE)
	if err != nil {
		return nil, "", virt.Sentence(err)
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
	d := l.link.reach()
	state, _, err := d.GetState()
	if err != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, virt.Sentence(err))
	}
	l.ran = state == libvirt.DOMAIN_RUNNING || state == libvirt.DOMAIN_BLOCKED
	begin := func() error {
		if err := d.BackupBegin(job, "", 0); err != nil {
			return beginError(l.guest.name, l.scratch, err)
		}
		return nil
	}
	if l.scratch.found || len(l.notes) > 0 {
		l.thawLeft(state)
	}
	if err := l.scratch.room(); err != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, err)
	}
	why, warning := whyNotFrozen(l.guest, state, o.NoQuiesce)
	if why != "" {
		l.quiesce = quiesce{why: why, warning: warning}
		return begin()
	}
	l.quiesce, err = frozenWhile(ctx, l.guest.name, l.link, agentTimeout, begin)
	if l.quiesce.unsure {
		l.thawer = keepThawing(l.link)
	}
	return err
}

// thawLeft thaws the guest after a run that was killed, if there is an agent to be told.
func (l *live) thawLeft(state libvirt.DomainState) {
	if why, _ := whyNotFrozen(l.guest, state, false); why != "" {
		return
	}
	note, warning := thawLeft(l.guest.name, l.link, agentTimeout)
	if note != "" {
		l.notes = append(l.notes, note)
	}
	l.warning = warning
}

// open makes sure that the job is of the disks we know, since one may have been plugged in meanwhile (from here on
// libvirt refuses that), and connects to each.
func (l *live) open(ctx context.Context) error {
	now, text, err := liveGuest(l.link.reach())
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

func (l *live) opened() []openDisk { return l.disks }

// tell says what is particular to a live read.
func (l *live) tell(r *Result) {
	r.Notes = append(r.Notes, l.notes...)
	if l.quiesce.note != "" {
		r.Notes = append(r.Notes, l.quiesce.note)
	}
	r.Quiesced, r.Frozen = l.quiesce.String(), l.quiesce.took
	for _, warning := range []string{l.warning, l.quiesce.warning} {
		if warning != "" {
			r.Warnings = append(r.Warnings, warning)
		}
	}
	tellLeft(l.guest, r)
}

// files are the definitions: what the guest starts from next time, and what it runs with now.
func (l *live) files() ([]file, error) {
	inactive, err := definition(l.link.reach())
	return []file{{"domain.xml", inactive}, {"domain-live.xml", l.xml}}, err
}
