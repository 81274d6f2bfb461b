package vm

import (
	"fmt"
	"strings"
)

// libvirt puts overlays over all disks of a guest, also over one that was plugged in a moment ago and is not in what it
// is told of. So the disks are looked at once more right before, and after it overlays that nobody asked for are looked for.

// mustHaveTheSameDisks refuses a guest whose disks are not those that overlays were prepared for.
func (o *overlays) mustHaveTheSameDisks() error {
	now, _, err := liveGuest(o.link.reach())
	if err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	changed := sameDisks(o.guest, now)
	if changed == "" {
		changed = sameLeft(o.guest.left, now.left)
	}
	if changed != "" {
		return fmt.Errorf("VM %q: disk %s was plugged in or out as the overlays were prepared: try again", o.guest.name, changed)
	}
	return nil
}

// sameLeft says which of the disks that are left out differs between two readings; "" when none does.
func sameLeft(a, b []leftOut) string {
	known := map[string]bool{}
	for _, l := range a {
		known[l.target] = true
	}
	for _, l := range b {
		if !known[l.target] {
			return l.target
		}
		delete(known, l.target)
	}
	for target := range known {
		return target
	}
	return ""
}

// adopt takes the overlays into the journal that libvirt put over disks which it was not told of, and fails if there is
// one: then the snapshot was of disks that we know too little of. libvirt names such an overlay like the image, with the
// name of the snapshot at its end.
func (o *overlays) adopt() error {
	all, err := readDefinitions(o.link)
	if err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, err)
	}
	var strays []overlay
	disks := all.disks()
	for i := range disks {
		d := &disks[i]
		chain := all.chain(d)
		if len(chain) < 2 || !strings.HasSuffix(chain[0], "."+o.snapshot) || d.BackingStore.Format == nil {
			continue
		}
		one := overlay{Target: targetOf(d), File: chain[0], Base: chain[1], Format: d.BackingStore.Format.Type}
		if one.Under, err = underOf(one.Base); err != nil {
			return fmt.Errorf("VM %q: disk %s: %w", o.guest.name, one.Target, err)
		}
		strays = append(strays, one)
	}
	if len(strays) == 0 {
		return nil
	}
	if err := o.journal.update(func(e *entry) { e.Overlays = append(e.Overlays, strays...) }); err != nil {
		return err
	}
	return fmt.Errorf("VM %q: disk %s was plugged in as the overlays were put on: try again", o.guest.name, strays[0].Target)
}
