package vm

import (
	"context"
	"fmt"
	"os"
	"slices"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// offline is a guest that is shut off, its images open.
type offline struct {
	uri     string
	domain  *libvirt.Domain
	guest   *guest
	machine *machine                    // as it was read at the end
	reason  libvirt.DomainShutoffReason // why the guest is off
	images  []fileState
	disks   []openDisk
}

// beginOffline opens the images of a domain that is shut off. The caller calls close.
func beginOffline(ctx context.Context, r *run) (*offline, error) {
	text, err := r.domain.GetXMLDesc(libvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		return nil, virt.Sentence(err)
	}
	g, err := parseGuest(text)
	if err != nil {
		return nil, err
	}
	if err := g.mustHaveDisks(); err != nil {
		return nil, err
	}
	o := &offline{uri: r.host.URI, domain: r.domain, guest: g}
	if state, reason, err := r.domain.GetState(); err == nil && state == libvirt.DOMAIN_SHUTOFF {
		o.reason = libvirt.DomainShutoffReason(reason)
	}
	for i := range g.disks {
		if err := o.open(ctx, r, &g.disks[i]); err != nil {
			o.close()
			return nil, fmt.Errorf("VM %q: %w", g.name, err)
		}
	}
	return o, nil
}

// open notes the state of every image of a disk's chain, then opens it.
func (o *offline) open(ctx context.Context, r *run, d *disk) error {
	if d.special != "" {
		return fmt.Errorf("disk %s cannot be read offline: %s; start the VM and use --mode live", d.target, d.special)
	}
	if d.kind == "network" {
		return fmt.Errorf("disk %s is on the network (%s) and cannot be read offline; start the VM and use --mode live", d.target, d.path)
	}
	image := *d // d keeps the name of a volume, as the source of a running guest's disk does
	if err := resolveVolume(r.host, &image); err != nil {
		return err
	}
	chain, err := chainOf(ctx, &image)
	if err != nil {
		return err
	}
	images, err := statesOf(chain)
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.target, err)
	}
	o.images = append(o.images, images...)
	bitmap, err := offlineBitmap(ctx, r, d, chain)
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.target, err)
	}
	name := ""
	if bitmap.whole {
		name = r.plan.from
	}
	one, err := openImages(ctx, d, chain, name)
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.target, err)
	}
	if one.whyFull = r.plan.whyFull(d, one.Size(), bitmap); one.whyFull != "" {
		one.bitmap = ""
	}
	o.disks = append(o.disks, one)
	return nil
}

// offlineBitmap looks for the base's bitmap in the images of a guest that is shut off. It is of use only if all that was
// written since is marked in the topmost image: libvirt carries a checkpoint on in each overlay that it makes, so one
// that stands in a lower image too is spread over several.
func offlineBitmap(ctx context.Context, r *run, d *disk, chain []layer) (found bitmapOf, err error) {
	p := &r.plan
	if p.base == nil || d.keepsBitmap() != "" {
		return found, nil
	}
	for i, l := range chain {
		if l.format != "qcow2" {
			continue
		}
		info, err := imageInfoOf(ctx, l)
		if err != nil {
			return found, err
		}
		for _, b := range info.FormatSpecific.Data.Bitmaps {
			if b.Name != p.from {
				continue
			}
			if i > 0 {
				return bitmapOf{exists: found.exists}, nil
			}
			known, err := describedBitmaps(r.domain, p.from, 0)
			if err != nil {
				return found, nil
			}
			whole := slices.Contains(b.Flags, "auto") && !slices.Contains(b.Flags, "in-use")
			found = bitmapOf{exists: true, whole: whole, image: known[d.target].image}
		}
	}
	return found, nil
}

// resolveVolume turns a disk that names a volume of a storage pool into one that names the volume's path.
func resolveVolume(h *virt.Host, d *disk) error {
	if d.kind != "volume" {
		return nil
	}
	pool, err := h.Conn.LookupStoragePoolByName(d.volume.Pool)
	if err != nil {
		return fmt.Errorf("disk %s: storage pool %q: %w", d.target, d.volume.Pool, virt.Sentence(err))
	}
	defer pool.Free()
	volume, err := pool.LookupStorageVolByName(d.volume.Volume)
	if err != nil {
		return fmt.Errorf("disk %s: volume %q of storage pool %q: %w", d.target, d.volume.Volume, d.volume.Pool, virt.Sentence(err))
	}
	defer volume.Free()
	path, err := volume.GetPath()
	if err != nil {
		return fmt.Errorf("disk %s: volume %q: %w", d.target, d.volume.Volume, virt.Sentence(err))
	}
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() && st.Mode()&os.ModeDevice == 0 {
		return fmt.Errorf("disk %s: volume %s is not a file or device of this host (%q); start the VM and use --mode live", d.target, d.path, path)
	}
	d.path = path
	return nil
}

// check makes sure that nothing could write to the images since they were opened.
func (o *offline) check(context.Context) error {
	active, err := o.domain.IsActive()
	if err != nil {
		return fmt.Errorf("VM %q: %w", o.guest.name, virt.Sentence(err))
	}
	if active {
		return fmt.Errorf("VM %q was started while it was being read offline: start again, it will be read live", o.guest.name)
	}
	for _, before := range o.images {
		now, err := stateOf(before.path)
		if err != nil {
			return fmt.Errorf("VM %q: %w", o.guest.name, err)
		}
		if what := before.changed(now); what != "" {
			return fmt.Errorf("VM %q: image %s was %s while it was being read: try again when nothing uses it", o.guest.name, before.path, what)
		}
	}
	return nil
}

// explain puts the reason before an error of reading, if it is that the images changed.
func (o *offline) explain(err error) error {
	if changed := o.check(context.Background()); changed != nil {
		return fmt.Errorf("%w: %w", changed, err)
	}
	return err
}

func (o *offline) opened() []openDisk { return o.disks }

// tell says what is particular to an offline read.
func (o *offline) tell(r *Result) {
	r.Quiesced = "yes: shut off"
	switch o.reason {
	case libvirt.DOMAIN_SHUTOFF_DESTROYED:
		r.Quiesced = "no: the guest was forced off while it ran"
	case libvirt.DOMAIN_SHUTOFF_CRASHED:
		r.Quiesced = "no: the guest crashed"
	}
	if saved, err := o.domain.HasManagedSaveImage(0); err == nil && saved {
		r.Quiesced = "no: the guest was saved while it ran"
		r.Notes = append(r.Notes, "the guest is saved (virsh managedsave): its disks are kept, the memory it would be restored from is not")
	}
	tellLeft(o.guest, r)
	o.machine.tell(r)
}

// files are the definition that the guest starts from, and the machine's state.
func (o *offline) files() ([]file, error) {
	inactive, err := definition(o.domain)
	if err != nil {
		return nil, err
	}
	if o.machine, err = machineFiles(o.uri, o.domain, inactive); err != nil {
		return nil, err
	}
	return append([]file{{"domain.xml", inactive}}, o.machine.files...), nil
}

func (o *offline) close() error {
	var failed error
	for _, d := range o.disks {
		if err := d.Close(); err != nil && failed == nil {
			failed = fmt.Errorf("VM %q: %w", o.guest.name, err)
		}
	}
	o.disks = nil
	return failed
}
