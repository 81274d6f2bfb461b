package vm

import (
	"context"
	"fmt"
	"strings"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
)

// chooseKind is the kind of snapshot that a VM can have. An internal one is preferred where it is safe, as it needs no
// further files; of a running VM it would hold its memory too and stop it for as long as that is written.
func chooseKind(ctx context.Context, d *libvirt.Domain, g *guest, x *libvirtxml.Domain, active bool) (string, error) {
	internal := "internal: it runs"
	if !active {
		why, err := whyNotInternal(ctx, d, g, x)
		if err != nil {
			return "", err
		}
		if why == "" {
			return KindInternal, nil
		}
		internal = "internal: " + why
	}
	reasons := []string{internal}
	for i := range g.disks {
		if why := whyNotExternal(&g.disks[i], x.Devices.Disks); why != "" {
			reasons = append(reasons, fmt.Sprintf("external: disk %s %s", g.disks[i].target, why))
		}
	}
	if len(reasons) == 1 {
		return KindExternal, nil
	}
	return "", fmt.Errorf("libvirt can make neither an internal nor an external snapshot of it (%s): back it up instead, with --mode live or offline", strings.Join(reasons, "; "))
}

// whyNotInternal says why a VM that is off should have no internal snapshot; "" if it may.
func whyNotInternal(ctx context.Context, d *libvirt.Domain, g *guest, x *libvirtxml.Domain) (string, error) {
	if x.OS != nil && x.OS.Loader != nil && x.OS.Loader.Type == "pflash" {
		return "it has UEFI firmware, whose variables libvirt does not put into an internal snapshot", nil
	}
	for i := range g.disks {
		one := &g.disks[i]
		if one.format != "qcow2" {
			return fmt.Sprintf("disk %s is %s, and only qcow2 holds one", one.target, one.format), nil
		}
		if one.kind != "file" && one.kind != "block" {
			return fmt.Sprintf("disk %s is neither a file nor a block device (%s)", one.target, one.path), nil
		}
	}
	checkpoints, err := ownCheckpoints(d, "")
	if err != nil {
		return "", err
	}
	if len(checkpoints) > 0 {
		return "it has checkpoints, and could not be set back while its images have dirty bitmaps", nil
	}
	for i := range g.disks {
		info, err := imageInfoOf(ctx, layer{g.disks[i].path, g.disks[i].format})
		if err != nil {
			return "", fmt.Errorf("disk %s: %w", g.disks[i].target, virt.Sentence(err))
		}
		if len(info.FormatSpecific.Data.Bitmaps) > 0 {
			return fmt.Sprintf("the image of disk %s has a dirty bitmap, and could not be set back with it", g.disks[i].target), nil
		}
	}
	return "", nil
}

// whyNotExternal says why no overlay can be put over a disk and taken off again; "" if it can.
func whyNotExternal(d *disk, all []libvirtxml.DomainDisk) string {
	switch {
	case d.kind == "network":
		return fmt.Sprintf("is on the network (%s)", d.path)
	case d.kind == "volume":
		return fmt.Sprintf("is defined as a volume of a storage pool (%s), which libvirt would change into a path", d.path)
	case d.kind != "file" && d.kind != "block":
		return fmt.Sprintf("is neither a file nor a block device (%s)", d.path)
	case d.special != "":
		return "cannot be read while the VM is off: " + d.special
	}
	for i := range all {
		if targetOf(&all[i]) == d.target && all[i].Shareable != nil {
			return "is shared with other VMs (<shareable/>), whose writes an overlay would not show"
		}
	}
	return ""
}
