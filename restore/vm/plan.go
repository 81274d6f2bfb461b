package vm

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/beevik/etree"

	"vaultfs/internal/virt"
	"vaultfs/repo"
)

// The names of a snapshot's files that are looked for. What an ingest makes of a guest is in ingest/vm.
const (
	definitionItem  = "domain.xml"
	nvramItem       = "nvram.fd"
	tpmItem         = "tpm-state.tar"
	snapshotsItem   = "snapshots.xml"
	checkpointsItem = "checkpoints.xml"
)

// A plan is all that is to be made, worked out before any of it is.
type plan struct {
	repo    *repo.Repo
	snap    *repo.Snapshot
	host    *virt.Host
	connect func(uri string) (*virt.Host, error) // reaches libvirt anew
	options *Options
	places  places
	taken   *taken
	images  imagePlaces

	doc        *etree.Document
	domain     *etree.Element  // the root of doc, edited step by step
	name, uuid string          // of the new domain
	files      []planned       // disks and NVRAM
	tpm        *tpmState       // nil if there is none to restore
	told       map[string]bool // files of the host that were warned of
	result     *Result
}

// planned is an item and the file that it becomes.
type planned struct {
	item   repo.Item
	path   string
	format string // restore.QCOW2 or restore.Raw; "" of an item that is no disk
}

// workOut makes the plan. Nothing is written, and what stands in the way is an error.
func (p *plan) workOut(ctx context.Context) (err error) {
	if p.options.DiskDir != "" {
		if p.options.DiskDir, err = filepath.Abs(p.options.DiskDir); err != nil {
			return err
		}
	}
	if p.places, err = placesOf(p.host.URI); err != nil {
		return err
	}
	if p.taken, err = survey(p.host); err != nil {
		return err
	}
	p.images, p.told = p.findImagePlaces(), map[string]bool{}
	for _, step := range []func(context.Context) error{
		p.identify, p.planDisks, p.planNVRAM, p.planTPM, p.checkEmulator, p.checkPlaces, p.checkSpace,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("VM %q: %w", p.name, err)
		}
	}
	p.planHostDevices()
	p.warnOfReach()
	p.lookAround()
	p.noteMetadata()
	return nil
}

func (p *plan) change(format string, args ...any) {
	p.result.Changes = append(p.result.Changes, fmt.Sprintf(format, args...))
}

func (p *plan) note(format string, args ...any) {
	p.result.Notes = append(p.result.Notes, fmt.Sprintf(format, args...))
}

func (p *plan) warn(format string, args ...any) {
	p.result.Warnings = append(p.result.Warnings, fmt.Sprintf(format, args...))
}

// noteMetadata says that libvirt's snapshots and checkpoints do not come back: the disks are restored without the
// states that those name.
func (p *plan) noteMetadata() {
	for _, m := range [][2]string{{snapshotsItem, "snapshots"}, {checkpointsItem, "checkpoints"}} {
		if item, what := m[0], m[1]; p.snap.Item(item) != nil {
			p.note("the %s that libvirt knew of are not made again, as the restored disks do not hold them; %s tells what there was", what, item)
		}
	}
}
