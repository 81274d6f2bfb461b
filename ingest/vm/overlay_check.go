package vm

import (
	"context"
	"fmt"
)

// check makes sure that what was read is the guest at the moment of the snapshot: its disks lie on our overlays, and
// nothing has written to the images below. That it stopped, or was started again since, makes no difference to those.
func (o *overlays) check(context.Context) error {
	if err := o.inPlace(); err != nil {
		return err
	}
	for _, before := range o.images {
		now, err := stateOf(before.path)
		if err != nil {
			return fmt.Errorf("VM %q: %w", o.guest.name, err)
		}
		// libvirt changes the owner of images as it pleases, so also of one that another VM shares.
		now.ctime = before.ctime
		if what := before.changed(now); what != "" {
			return fmt.Errorf("VM %q: image %s was %s while it was being read, though the guest writes to an overlay: see what else uses it", o.guest.name, before.path, what)
		}
	}
	if o.ran && stalled(o.link.reach()) {
		return fmt.Errorf("VM %q: no space left for what it writes while it is read: free some in %s, or name another place with --scratch-dir", o.guest.name, o.dir.dir)
	}
	if err := o.room(); err != nil {
		return fmt.Errorf("VM %q: the backup was stopped before it would hold up the guest: %w", o.guest.name, err)
	}
	return nil
}

// inPlace makes sure that every overlay is where it was put.
func (o *overlays) inPlace() error {
	all, err := readDefinitions(o.link)
	if err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	o.stopped = !all.active()
	for _, one := range o.made {
		if err := all.find(one).inPlace(one); err != nil {
			return fmt.Errorf("VM %q: %w", o.guest.name, err)
		}
	}
	return nil
}

// explain puts the reason before an error of reading, if it is that the images changed.
func (o *overlays) explain(err error) error {
	if changed := o.check(context.Background()); changed != nil {
		return fmt.Errorf("%w: %w", changed, err)
	}
	return err
}
