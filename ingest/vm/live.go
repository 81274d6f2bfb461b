package vm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/ingest"
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
	journal *journal
	ran     bool // it was running, not paused, when the job began
	quiesce quiesce
	thawer  *thawer  // while the guest may be frozen though it should not
	notes   []string // of what a killed run had left
	warning string   // of a guest that it may have left frozen
	machine *machine // as it was when the job began
	xml     string   // the live definition when the job began
	defined string   // what it starts from next time, at the end
	disks   []openDisk

	checkpoint  string            // to be made with the job; "" for none
	incremental map[string]string // the checkpoint whose bitmap is exported, by target
	whyFull     map[string]string // by target, of the others

	noCheckpoint string // why libvirt did not make it
}

// beginLive begins the job and opens every disk. The caller calls close, which ends it.
func beginLive(ctx context.Context, r *run) (l *live, err error) {
	l = &live{journal: r.journal}
	if l.link, err = newLink(r.domain); err != nil {
		return nil, err
	}
	if err := l.prepare(r); err != nil {
		l.link.close()
		return nil, err
	}
	if err = l.begin(ctx, r.options); err == nil && l.checkpoint == "" {
		err = l.journal.update(func(e *entry) { e.Checkpoint = "" }) // none was made after all
	}
	if err == nil {
		err = l.open(ctx)
	}
	if err != nil {
		if closing := l.close(); closing != nil {
			err = &LeftOtherwise{err, closing}
		}
		return nil, err
	}
	return l, nil
}

// prepare makes sure that a job can begin: it clears what a killed run left, plans what is read, and takes the scratch
// directory.
func (l *live) prepare(r *run) (err error) {
	d, o := r.domain, r.options
	if l.guest, l.xml, err = liveGuest(d); err != nil {
		return err
	}
	if err := l.guest.mustHaveDisks(); err != nil {
		return err
	}
	if l.notes, err = clearJob(l.guest.name, l.guest.uuid, d); err != nil {
		return err
	}
	l.plan(r)
	scratchDir := filepath.Join(o.ScratchDir, dirPrefix+l.guest.uuid)
	if err := l.journal.update(func(e *entry) { e.Scratch, e.Checkpoint = scratchDir, l.checkpoint }); err != nil {
		return err
	}
	o.reached("journal")
	if l.scratch, err = makeScratch(o.ScratchDir, l.guest.uuid, l.guest.label); err != nil {
		return errors.Join(fmt.Errorf("VM %q: %w", l.guest.name, err), l.journal.update(func(e *entry) { e.Scratch, e.Checkpoint = "", "" }))
	}
	l.scratch.keepFree = l.guest.keepFree(o)
	o.reached("scratch")
	return nil
}

// plan decides which disks are read incrementally, and whether a checkpoint is made.
func (l *live) plan(r *run) {
	l.incremental, l.whyFull = map[string]string{}, map[string]string{}
	var bitmaps map[string]bitmapOf
	if r.plan.base != nil {
		var err error
		if bitmaps, err = checkpointBitmaps(r.domain, r.plan.from); err != nil {
			r.plan.base, r.plan.why = nil, fmt.Sprintf("its checkpoint cannot be used (%v)", err)
		}
	}
	for i := range l.guest.disks {
		d := &l.guest.disks[i]
		why := r.plan.whyFull(d, liveSize(r.domain, d.target), bitmaps[d.target])
		if why == "" {
			l.incremental[d.target] = r.plan.from
		} else {
			l.whyFull[d.target] = why
		}
		if bitmaps != nil && !bitmaps[d.target].whole {
			r.plan.findOlder(r.domain, d.target)
		}
	}
	if r.plan.unmade == "" && !slices.ContainsFunc(l.guest.disks, func(d disk) bool { return d.keepsBitmap() == "" }) {
		r.plan.unmade = "no disk has an image that keeps a dirty bitmap"
	}
	if r.plan.unmade == "" {
		l.checkpoint = r.checkpoint
	}
}

// liveSize is the size of a disk of a running guest in bytes; -1 if it cannot be told.
func liveSize(d *libvirt.Domain, target string) int64 {
	info, err := d.GetBlockInfo(target, 0)
	if err != nil {
		return -1
	}
	return int64(info.Capacity)
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
	d := l.link.reach()
	state, _, err := d.GetState()
	if err != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, virt.Sentence(err))
	}
	l.ran = state == libvirt.DOMAIN_RUNNING || state == libvirt.DOMAIN_BLOCKED
	attempts, err := l.attempts()
	if err != nil {
		return err
	}
	if l.scratch.found || len(l.notes) > 0 {
		l.thawLeft(state)
	}
	if err := l.scratch.room(); err != nil {
		return fmt.Errorf("VM %q: %w", l.guest.name, err)
	}
	l.quiesce, l.thawer, err = quiesced(ctx, l.link, l.guest, state, o, l.journal, func() error {
		o.reached("frozen")
		defer o.reached("begun")
		return l.try(d, attempts)
	})
	return err
}

// attempt is one way to begin the job.
type attempt struct {
	job, checkpoint string // XML
}

// attempts are the ways to begin the job, the best first: with the dirty bitmaps, without them, without a checkpoint
// either. All is prepared before the guest is frozen.
func (l *live) attempts() (list []attempt, err error) {
	var made string
	if l.checkpoint != "" {
		if made, err = checkpointXML(l.checkpoint, l.guest.disks); err != nil {
			return nil, err
		}
	}
	full, err := jobXML(l.guest.disks, nil, l.scratch)
	if err != nil {
		return nil, err
	}
	if len(l.incremental) > 0 {
		job, err := jobXML(l.guest.disks, l.incremental, l.scratch)
		if err != nil {
			return nil, err
		}
		list = append(list, attempt{job: job, checkpoint: made})
	}
	list = append(list, attempt{job: full, checkpoint: made})
	if made != "" {
		list = append(list, attempt{job: full})
	}
	return list, nil
}

// try begins the job in the first way that libvirt goes along with: a checkpoint that is of no use must not keep the
// guest from being backed up.
func (l *live) try(d *libvirt.Domain, attempts []attempt) error {
	var failed error
	for i, a := range attempts {
		err := d.BackupBegin(a.job, a.checkpoint, 0)
		if err == nil {
			l.settle(a, failed)
			return nil
		}
		failed = err
		if i+1 < len(attempts) && !checkpointTrouble(err) {
			break
		}
	}
	return beginError(l.guest.name, l.scratch, failed)
}

// settle writes down what the attempt that worked leaves out.
func (l *live) settle(a attempt, failed error) {
	if failed == nil {
		return
	}
	why := virt.Sentence(failed).Error()
	for target := range l.incremental {
		l.whyFull[target] = "libvirt could not use the checkpoint: " + why
	}
	l.incremental = nil
	if a.checkpoint == "" && l.checkpoint != "" {
		l.noCheckpoint = why
		l.checkpoint = ""
	}
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

// open makes sure that the job is of the disks we know, since one may have been plugged in or out meanwhile, and connects
// to each. From here on libvirt refuses to take one out; one that is plugged in later was not there at the moment that
// the snapshot is of.
func (l *live) open(ctx context.Context) error {
	now, text, err := liveGuest(l.link.reach())
	if err != nil {
		return l.explain(err)
	}
	if changed := sameDisks(l.guest, now); changed != "" {
		return fmt.Errorf("VM %q: disk %s was plugged in or out as the job began: try again", l.guest.name, changed)
	}
	l.xml = text
	// Now, not after the disks: state and disks then belong together.
	if l.machine, err = machineFiles(l.link.uri, l.link.reach(), text); err != nil {
		return err
	}
	for _, d := range l.guest.disks {
		contexts := []string{nbd.ContextAllocation}
		bitmap := ""
		if l.incremental[d.target] != "" {
			bitmap = nbd.ContextDirtyBitmap + exportedBitmap(d.target)
			contexts = append(contexts, bitmap)
		}
		c, err := nbd.Dial(ctx, "unix", l.scratch.socket(), nbd.Options{
			Export: d.target, Contexts: contexts, Connections: connections, Timeout: nbdTimeout,
		})
		if err != nil {
			return l.explain(fmt.Errorf("disk %s: %w", d.target, err))
		}
		one := openDisk{disk: d, content: ingest.Exported{Client: c}, marks: c, whyFull: l.whyFull[d.target]}
		if bitmap != "" {
			one.bitmap, one.whyFull = usable(c, bitmap)
		}
		if l.checkpoint != "" && d.keepsBitmap() == "" {
			one.checkpoint = l.checkpoint
		}
		l.disks = append(l.disks, one)
	}
	return nil
}

func (l *live) opened() []openDisk { return l.disks }

// tell says what is particular to a live read.
func (l *live) tell(r *Result) {
	r.Notes = append(r.Notes, l.notes...)
	l.quiesce.tell(r)
	r.Method = MethodBackup
	if l.noCheckpoint != "" {
		r.Warnings = append(r.Warnings, fmt.Sprintf("VM %q: no checkpoint was made, so the next backup reads everything: %s", l.guest.name, l.noCheckpoint))
	}
	for _, warning := range []string{l.warning, l.quiesce.warning} {
		if warning != "" {
			r.Warnings = append(r.Warnings, warning)
		}
	}
	tellLeft(l.guest, r)
	tellOnOverlays(l.guest, r)
	tellUnpaused(l.guest, r)
	tellPluggedNext(l.guest, l.defined, r)
	l.machine.tell(r)
}

// files are the definitions, of what the guest starts from next time and of what it runs with now, and the machine's state.
func (l *live) files() ([]file, error) {
	var err error
	l.defined, err = definition(l.link.reach())
	return append([]file{{"domain.xml", l.defined}, {"domain-live.xml", l.xml}}, l.machine.files...), err
}
