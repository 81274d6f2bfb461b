package vm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// overlays is a running guest whose images are read themselves, while overlays take what it writes: the way for guests
// and hosts on which libvirt's backup job does not work. It is a source.
//
// An external snapshot puts an overlay over the image of every disk at one moment. From then on nothing writes to the
// images, so they are read from their files like those of a guest that is shut off; it does no harm if the guest stops
// meanwhile. At the end each overlay is committed into the image below it and removed, see overlay_merge.go. The
// overlays hold the guest's newest data: nothing removes one that has not been committed.
type overlays struct {
	link    *link
	guest   *guest // as it was found
	options *Options
	dir     *overlayDir
	journal *journal
	ran     bool // it was running, not paused, when it was found
	quiesce quiesce
	thawer  *thawer  // while the guest may be frozen though it should not
	notes   []string // of what a killed run had left
	machine *machine // as it was when the overlays were put on
	live    string   // the definitions as they were found
	defined string
	made    []overlay

	snapshot string // its name for libvirt

	images  []fileState // of all that is read; their ctime may change
	disks   []openDisk
	sizes   map[string]int64 // of the disks in bytes, by target; one that is not open yet is missing
	stopped bool             // the guest was off at the last look
}

// everythingRead is why a disk is read as a whole: QEMU keeps a bitmap of an image that it has open to itself.
const everythingRead = "method snapshot reads everything"

// beginOverlay puts the overlays on and opens the images below. The caller calls close, which takes them off.
func beginOverlay(ctx context.Context, r *run) (*overlays, error) {
	o, err := newOverlays(r)
	if err != nil {
		return nil, err
	}
	if err = oneLine(o.take(ctx), o.adopt()); err == nil {
		err = o.open(ctx)
	}
	if err != nil {
		if closing := o.close(); closing != nil {
			err = &LeftOtherwise{err, closing}
		}
		return nil, err
	}
	return o, nil
}

// newOverlays makes sure that overlays can be put on, and writes them into the journal. The guest is not touched.
func newOverlays(r *run) (o *overlays, err error) {
	o = &overlays{options: r.options, journal: r.journal, sizes: map[string]int64{}}
	o.snapshot = fmt.Sprintf("%s%d", snapshotPrefix, time.Now().UnixNano())
	if o.link, err = newLink(r.domain); err != nil {
		return nil, err
	}
	if err = o.find(r.domain); err == nil {
		err = o.prepare(r)
	}
	if err != nil {
		o.link.close()
		return nil, err
	}
	return o, nil
}

// find reads what the guest is, and refuses one that overlays cannot be put on.
func (o *overlays) find(d *libvirt.Domain) (err error) {
	if o.guest, o.live, err = liveGuest(d); err != nil {
		return err
	}
	if err := o.guest.mustHaveDisks(); err != nil {
		return err
	}
	if err := overlayable(d, o.guest, o.live); err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	if o.notes, err = clearJob(o.guest.name, o.guest.uuid, d); err != nil {
		return err
	}
	if o.defined, err = definition(d); err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	return nil
}

// prepare takes the directory and announces the overlays.
func (o *overlays) prepare(r *run) (err error) {
	if o.dir, err = makeOverlayDir(r.options.ScratchDir, o.guest.uuid, o.guest.label); err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	o.dir.keepFree = o.guest.keepFree(r.options)
	for _, d := range o.guest.disks {
		var below under
		if err == nil {
			err = resolveVolume(r.host, &d)
		}
		if err == nil {
			below, err = placeOf(d.path)
		}
		o.made = append(o.made, overlay{Target: d.target, File: o.dir.file(d.target), Base: d.path, Format: d.format, Under: below})
	}
	if err == nil {
		err = o.dir.mustBeEmpty()
	}
	if err == nil {
		err = o.room()
	}
	if err == nil {
		err = o.journal.update(func(e *entry) { e.Overlays = o.made })
	}
	if err != nil {
		o.dir.giveUp()
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	o.options.reached("journal")
	return nil
}

// take makes the snapshot, with the guest frozen around it if it can be.
func (o *overlays) take(ctx context.Context) error {
	state, _, err := o.link.reach().GetState()
	if err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, virt.Sentence(err))
	}
	o.ran = state == libvirt.DOMAIN_RUNNING || state == libvirt.DOMAIN_BLOCKED
	text, err := overlaySnapshotXML(o.snapshot, o.guest, o.made)
	if err != nil {
		return err
	}
	const flags = libvirt.DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.DOMAIN_SNAPSHOT_CREATE_ATOMIC | libvirt.DOMAIN_SNAPSHOT_CREATE_NO_METADATA
	o.quiesce, o.thawer, err = quiesced(ctx, o.link, o.guest, state, o.options, o.journal, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		o.options.reached("frozen")
		defer o.options.reached("begun")
		if err := o.mustHaveTheSameDisks(); err != nil {
			return err
		}
		o.options.reached("asking")
		s, err := o.link.reach().CreateSnapshotXML(text, flags)
		if err != nil {
			return o.snapshotError(err)
		}
		return s.Free()
	})
	return err
}

// open makes sure that every disk has its overlay, each right above the image that it had, and opens the images.
func (o *overlays) open(ctx context.Context) (err error) {
	if err := o.inPlace(); err != nil {
		return err
	}
	if err := o.settle(); err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	if o.machine, err = machineFiles(o.link.uri, o.link.reach(), o.live); err != nil {
		return err
	}
	for i := range o.guest.disks {
		if err := o.serve(ctx, &o.guest.disks[i], o.made[i].Base); err != nil {
			return fmt.Errorf("VM %q: disk %s: %w", o.guest.name, o.guest.disks[i].target, err)
		}
	}
	return nil
}

// settle writes down what the images are, which nothing writes to any more.
func (o *overlays) settle() (err error) {
	for i := range o.made {
		if o.made[i].Under, err = underOf(o.made[i].Base); err != nil {
			return err
		}
	}
	return o.journal.update(func(e *entry) { e.Overlays = slices.Clone(o.made) })
}

// serve opens the image that a disk had, with all that is below it.
func (o *overlays) serve(ctx context.Context, d *disk, path string) error {
	image := *d
	image.path = path // also of a volume of a storage pool
	chain, err := chainOf(ctx, &image)
	if err != nil {
		return err
	}
	images, err := statesOf(chain)
	if err != nil {
		return err
	}
	o.images = append(o.images, images...)
	one, err := openImages(ctx, d, chain, "")
	if err != nil {
		return err
	}
	one.whyFull = everythingRead
	o.sizes[d.target] = one.Size()
	o.disks = append(o.disks, one)
	return nil
}

func (o *overlays) opened() []openDisk { return o.disks }

// files are the definitions as they were before the overlays were put on, and the machine's state.
func (o *overlays) files() ([]file, error) {
	return append([]file{{"domain.xml", o.defined}, {"domain-live.xml", o.live}}, o.machine.files...), nil
}

// close takes the overlays off, whatever became of the backup, and makes sure that the guest is left neither frozen nor
// stalled.
func (o *overlays) close() error {
	defer o.link.close()
	closed := o.stopReading() // QEMU cannot write to an image that another process has open
	thawed := o.quiesce.end(o.thawer, o.guest.name)
	m := newMerger(o.link, o.journal)
	m.reached = o.options.reached
	failed := m.all()
	o.dir.giveUp()
	if o.ran {
		if _, err := resumeStalled(o.link.reach(), o.guest.name); err != nil {
			failed = oneLine(failed, err)
		}
	}
	recorded := o.journal.update(func(e *entry) { e.Freezing = e.Freezing && !thawed })
	if failed = oneLine(failed, recorded, closed); failed != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, failed)
	}
	return nil
}

// stopReading closes the disks.
func (o *overlays) stopReading() (failed error) {
	for _, d := range o.disks {
		failed = oneLine(failed, d.Close())
	}
	o.disks = nil
	return failed
}

// tell says what is particular to this way of reading.
func (o *overlays) tell(r *Result) {
	r.Notes = append(r.Notes, o.notes...)
	o.quiesce.tell(r)
	if o.stopped {
		r.Notes = append(r.Notes, "the guest stopped while it was read; the snapshot is of the moment when the reading began")
	}
	r.Method = MethodSnapshot
	if o.quiesce.warning != "" {
		r.Warnings = append(r.Warnings, o.quiesce.warning)
	}
	tellLeft(o.guest, r)
	tellUnpaused(o.guest, r)
	tellPluggedNext(o.guest, o.defined, r)
	o.machine.tell(r)
}
