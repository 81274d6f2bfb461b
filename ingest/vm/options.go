package vm

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// Mode says how a guest is read.
const (
	ModeAuto    = "auto"    // live if it runs or is paused, else offline
	ModeLive    = "live"    // while it runs
	ModeOffline = "offline" // the images of a guest that is shut off, or is shut down for it
)

// Method says how a running guest is read.
const (
	MethodBackup   = "backup"   // by libvirt's backup job
	MethodSnapshot = "snapshot" // its images, while overlays take what it writes
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
	switch o.Method {
	case "":
		o.Method = MethodBackup
	case MethodBackup, MethodSnapshot:
	default:
		return fmt.Errorf("%w: method %q: want %s or %s", ErrUsage, o.Method, MethodBackup, MethodSnapshot)
	}
	if o.Audit < 0 || o.Audit > 100 {
		return fmt.Errorf("%w: audit of %v %%: want 0 to 100", ErrUsage, o.Audit)
	}
	if o.ShutdownTimeout <= 0 {
		o.ShutdownTimeout = DefaultShutdownTimeout
	}
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if o.StateDir == "" {
		if o.StateDir, err = ingest.StateDir(); err != nil {
			return err
		}
	}
	if o.ScratchDir == "" {
		o.ScratchDir = filepath.Join(o.StateDir, "scratch")
	}
	return nil
}

// DefaultShutdownTimeout is how long a guest may take to shut down.
const DefaultShutdownTimeout = 5 * time.Minute

// choose is the mode for a guest that is active or not.
func (o *Options) choose(name string, active bool) (string, error) {
	switch {
	case o.Mode == ModeOffline && active && !o.Shutdown:
		return "", fmt.Errorf("VM %q is running: for --mode offline shut it down, or agree with --yes to its being shut down and started again; or use --mode live", name)
	case o.Mode == ModeOffline:
		return ModeOffline, nil
	case o.Mode == ModeLive && !active:
		return "", fmt.Errorf("VM %q is not running: start it for --mode live, or use --mode offline", name)
	case active:
		return ModeLive, nil
	}
	return ModeOffline, nil
}

// Options says how a guest is backed up.
type Options struct {
	Connect    string   // libvirt URI; "" is the one libvirt prefers
	Mode       string   // ModeAuto, ModeLive or ModeOffline; "" is auto
	Method     string   // of reading a running guest: MethodBackup or MethodSnapshot; "" is backup
	NoQuiesce  bool     // do not ask the guest agent to freeze filesystems
	StateDir   string   // for journals; "" is that of ingest.StateDir
	ScratchDir string   // where a live guest's overwritten blocks are kept; "" is "scratch" in StateDir
	Name       string   // of the source, after "vm/"; "" is the VM's name
	Adopt      bool     // the source may have belonged to another VM
	Tags       []string // a person's words for each snapshot
	Verify     bool     // read back and rehash what was written before the commit
	Program    string   // and version, for the snapshot
	Progress   *ingest.Progress

	Full         bool    // read everything, whatever the dirty bitmaps say
	NoCheckpoint bool    // leave no checkpoint in the guest's images for the next backup
	Audit        float64 // percentage of what the bitmaps call clean that is read again and compared
	NoAudit      bool    // compare nothing; else, with Audit 0, a few MiB of each disk are compared

	Shutdown        bool          // ModeOffline may shut a running guest down, and starts it again
	ShutdownTimeout time.Duration // how long it may take to; 0 is DefaultShutdownTimeout

	keepFree func(size int64) int64 // in place of the function of that name
	at       func(step string)      // called at each step of a backup of a running guest, see reached
}

// reached says that the backup of a running guest has come to a step: journal, scratch, frozen, begun (still frozen),
// reading, read, ended, committed; with overlays also asking, and of each of them committing, ready, marked, pivoted.
func (o *Options) reached(step string) {
	if o.at != nil {
		o.at(step)
	}
}

// Result is a committed snapshot and how it came to be.
type Result struct {
	Snapshot   *repo.Snapshot
	Mode       string        // ModeLive or ModeOffline
	Method     string        // MethodBackup or MethodSnapshot; "" of ModeOffline
	Quiesced   string        // "yes: …" or "no: …"
	Frozen     time.Duration // how long the guest was frozen
	Down       time.Duration // how long a guest that ran was off to be read
	Disks      []Disk
	Checkpoint string   // that the next backup can start from; "" for none
	Notes      []string // for information; the snapshot holds them too
	Warnings   []string // what was left out or did not work as it should: exit status 3
}
