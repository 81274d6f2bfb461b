package vm

import (
	"errors"
	"fmt"
	"time"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// Mode says how a guest is read.
const (
	ModeAuto    = "auto"    // live if it runs or is paused, else offline
	ModeLive    = "live"    // by a backup job of the running guest
	ModeOffline = "offline" // the images of a guest that is shut off
)

// ErrUsage is in the errors of options that make no sense.
var ErrUsage = errors.New("wrong usage")

// complete fills in the defaults and refuses a mode that does not exist.
func (o *Options) complete() (err error) {
	switch o.Mode {
	case "":
		o.Mode = ModeAuto
	case ModeAuto, ModeLive, ModeOffline:
	default:
		return fmt.Errorf("%w: mode %q: want %s, %s or %s", ErrUsage, o.Mode, ModeAuto, ModeLive, ModeOffline)
	}
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if o.ScratchDir == "" {
		o.ScratchDir, err = defaultScratchDir()
	}
	return err
}

// choose is the mode for a guest that is active or not.
func (o *Options) choose(name string, active bool) (string, error) {
	switch {
	case o.Mode == ModeOffline && active:
		return "", fmt.Errorf("VM %q is running: shut it down for --mode offline, or use --mode live", name)
	case o.Mode == ModeLive && !active:
		return "", fmt.Errorf("VM %q is not running: start it for --mode live, or use --mode offline", name)
	case active:
		return ModeLive, nil
	}
	return ModeOffline, nil
}

// Options says how a guest is backed up.
type Options struct {
	Connect    string // libvirt URI; "" is the one libvirt prefers
	Mode       string // ModeAuto, ModeLive or ModeOffline; "" is auto
	NoQuiesce  bool   // do not ask the guest agent to freeze filesystems
	ScratchDir string // where a live guest's overwritten blocks are kept; "" is /var/lib/vaultfs/scratch for root
	Name       string // of the source, after "vm/"; "" is the VM's name
	Adopt      bool   // the source may have belonged to another VM
	Verify     bool   // read back and rehash what was written before the commit
	Program    string // and version, for the snapshot
	Progress   *ingest.Progress

	keepFree func(size int64) int64 // in place of the function of that name
}

// Result is a committed snapshot and how it came to be.
type Result struct {
	Snapshot *repo.Snapshot
	Mode     string        // ModeLive or ModeOffline
	Quiesced string        // "yes: …" or "no: …"
	Frozen   time.Duration // how long the guest was frozen
	Notes    []string      // for information; the snapshot holds them too
	Warnings []string      // what was left out or did not work as it should: exit status 3

	read int64 // bytes of the guest's disks
}
