package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/nbd/qemunbd"
	"vaultfs/internal/virt"
)

// commitOffline commits an overlay that no QEMU has open, and has libvirt name the image below. If somebody starts the
// guest meanwhile one of the two does not get the lock that QEMU keeps on images.
func (m *merger) commitOffline(o overlay, p place) error {
	n := p.inactive
	if !n.named() {
		n = p.saved
	}
	if n.above != "" {
		return o.buried(n.above)
	}
	home, err := withoutOverlay(n, o)
	if err != nil {
		return err
	}
	if err := mustLieOn(context.Background(), o); err != nil {
		return err
	}
	if err := m.begin(o, false); err != nil {
		return err
	}
	if err := commitFile(context.Background(), o, home); err != nil {
		return err
	}
	m.committed = true
	m.did("committed the overlay of disk %s into %s, while the guest was off", o.Target, o.Base)
	if err := mark(o); err != nil {
		return err
	}
	return m.redefine(o)
}

// commitFile commits an overlay into the image below with qemu-img, and makes that durable. Home is the disk without
// the overlay. The chain is given to qemu-img as it must be: no name in the overlay's header is followed.
func commitFile(ctx context.Context, o overlay, home *libvirtxml.DomainDisk) error {
	d := diskOf(home)
	d.path = o.Base // also of a volume of a storage pool
	if d.special != "" {
		return fmt.Errorf("it cannot be committed while the VM is off: %s; start the VM", d.special)
	}
	below, err := chainOf(ctx, &d)
	if err != nil {
		return err
	}
	chain := append([]layer{{o.File, "qcow2"}}, below...)
	if _, err := qemuImg(ctx, "commit", "-q", "-d", "--image-opts", chainOptions(chain)); err != nil {
		return err
	}
	return syncFile(o.Base)
}

// mustLieOn makes sure that an overlay is what was put over the disk: a guest's QEMU may write what it likes into it.
func mustLieOn(ctx context.Context, o overlay) error {
	st, err := os.Lstat(o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is gone, and with it what the VM wrote since the overlay was put on: look for it; if it cannot be brought back, set the disk's source back to %s with virsh edit, and remove the disk's <backingStore> there, or the VM does not start", o.File, o.Base)
	}
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", o.File)
	}
	external, err := qemunbd.HasDataFile(o.File)
	if err != nil {
		return fmt.Errorf("%s: %w", o.File, err)
	}
	if external {
		return fmt.Errorf("%s keeps its data in another file, as no overlay of ours does", o.File)
	}
	info, err := imageInfoOf(ctx, layer{o.File, "qcow2"})
	if err != nil {
		return err
	}
	if info.Backing != o.Base || info.Format != o.Format {
		return fmt.Errorf("%s says that it lies on %q (%s) and not on %s (%s), as it must", o.File, info.Backing, info.Format, o.Base, o.Format)
	}
	return nil
}

// holdsData tells whether anything was ever written to an overlay.
func holdsData(ctx context.Context, o overlay) (bool, error) {
	out, err := qemuImg(ctx, "map", "--output=json", "--image-opts", chainOptions([]layer{{o.File, "qcow2"}}))
	if err != nil {
		return false, err
	}
	var extents []struct{ Present, Data bool }
	if err := json.Unmarshal(out, &extents); err != nil {
		return false, fmt.Errorf("image %q: qemu-img map: %w", o.File, err)
	}
	for _, e := range extents {
		if e.Present || e.Data {
			return true, nil
		}
	}
	return false, nil
}

// chainOptions describes a chain to QEMU layer by layer. The last one's backing file is none, whatever its header says.
func chainOptions(chain []layer) string {
	var b strings.Builder
	prefix := ""
	for _, l := range chain {
		fmt.Fprintf(&b, "%sdriver=%s,%sfile.driver=%s,%sfile.filename=%s,", prefix, l.format, prefix, fileDriver(l.path), prefix, strings.ReplaceAll(l.path, ",", ",,"))
		prefix += "backing."
	}
	return b.String() + strings.TrimSuffix(prefix, ".") + "="
}

// qemuImg runs qemu-img out of reach of the terminal's Ctrl-C, which must not end a commit.
func qemuImg(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "qemu-img", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("qemu-img is missing: install qemu-utils")
	}
	if err != nil {
		said := strings.Join(strings.Fields(strings.ReplaceAll(stderr.String(), "qemu-img: ", "")), " ")
		return nil, fmt.Errorf("qemu-img %s: %s (%w)", args[0], said, err)
	}
	return out, nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// withoutOverlay is a disk that names an overlay as it was before that was put on. libvirt keeps all that it was in
// <backingStore>; where it does not, the path and the format are what is known.
func withoutOverlay(n naming, o overlay) (*libvirtxml.DomainDisk, error) {
	d := *n.disk
	below := d.BackingStore
	switch {
	case n.below == "":
		below = &libvirtxml.DomainDiskBackingStore{Format: &libvirtxml.DomainDiskFormat{Type: o.Format}, Source: sourceOf(o.Base)}
	case n.below != o.Base:
		return nil, fmt.Errorf("the VM's definition says that it lies on %q and not on %s, as it must", n.below, o.Base)
	}
	if below.Format == nil || below.Format.Type != o.Format {
		return nil, fmt.Errorf("the VM's definition does not say that %s is %s, as it must", o.Base, o.Format)
	}
	driver := libvirtxml.DomainDiskDriver{Name: "qemu"}
	if d.Driver != nil {
		driver = *d.Driver
	}
	driver.Type = o.Format
	source := *below.Source
	d.Driver, d.Source, d.BackingStore = &driver, &source, below.BackingStore
	d.Source.Index = 0
	return &d, nil
}

// sourceOf is the source of a disk with a path of this host.
func sourceOf(path string) *libvirtxml.DomainDiskSource {
	if st, err := os.Stat(path); err == nil && st.Mode()&os.ModeDevice != 0 {
		return &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: path}}
	}
	return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}
}

// redefine has the definition, and that of a saved guest, name the image below an overlay that is committed. Nothing but
// that disk's source changes.
func (m *merger) redefine(o overlay) error {
	all, err := readDefinitions(m.link)
	if err != nil {
		return err
	}
	d := m.link.reach()
	if n := all.naming(all.saved, o.File); n.named() {
		if err := redefineSaved(d, all.saved, n, o); err != nil {
			return fmt.Errorf("what the saved guest is restored to: %w", err)
		}
	}
	if n := all.naming(all.inactive, o.File); n.named() {
		if err := redefineDisk(d, n, o); err != nil {
			return fmt.Errorf("the VM's definition: %w", err)
		}
	}
	return nil
}

func redefineDisk(d *libvirt.Domain, n naming, o overlay) error {
	if n.above != "" {
		return o.buried(n.above)
	}
	home, err := withoutOverlay(n, o)
	if err != nil {
		return err
	}
	text, err := home.Marshal()
	if err != nil {
		return err
	}
	if err := d.UpdateDeviceFlags(text, libvirt.DOMAIN_DEVICE_MODIFY_CONFIG); err != nil {
		return virt.Sentence(err)
	}
	return nil
}

func redefineSaved(d *libvirt.Domain, x *libvirtxml.Domain, n naming, o overlay) error {
	if n.above != "" {
		return o.buried(n.above)
	}
	home, err := withoutOverlay(n, o)
	if err != nil {
		return err
	}
	*n.disk = *home
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	if err := d.ManagedSaveDefineXML(text, 0); err != nil {
		return virt.Sentence(err)
	}
	return nil
}
