package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// entry is what a run is about to do to a guest, or has done and not undone. It is durable before the deed and dropped
// after its undoing, so that whatever a run leaves when it dies can be found and set right; see recover.go.
type entry struct {
	VM    string    `json:"vm"`
	UUID  string    `json:"uuid"`
	URI   string    `json:"uri"` // of libvirt
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`

	Scratch    string    `json:"scratch,omitempty"`    // directory of a backup job
	Freezing   bool      `json:"freezing,omitempty"`   // the guest may be frozen
	Running    string    `json:"running,omitempty"`    // which run of the guest that is, see running
	Restart    bool      `json:"restart,omitempty"`    // it ran, and is shut down to be read
	Ordered    time.Time `json:"ordered,omitzero"`     // when it was told to shut down, until it was seen off
	Off        time.Time `json:"off,omitzero"`         // when it was seen off
	Snapshot   string    `json:"snapshot,omitempty"`   // libvirt's, whose overlays are merged and whose name goes first
	Overlays   []overlay `json:"overlays,omitempty"`   // that take the guest's writes while its images are read
	Checkpoint string    `json:"checkpoint,omitempty"` // made for a snapshot that is not committed yet
}

// overlay is an image that is put over a disk's image for the time of a backup. The guest's newest data is in it until
// it is committed into the image below: it is removed only when nothing names it.
type overlay struct {
	Target string `json:"target"`          // "vda"
	File   string `json:"file"`            // the overlay, qcow2
	Base   string `json:"base"`            // the disk's own image
	Format string `json:"format"`          // of Base
	Under  under  `json:"under,omitzero"`  // what Base was
	Begun  bool   `json:"begun,omitempty"` // it is being committed: Base is written to
}

// nothing tells whether nothing has to be undone.
func (e *entry) nothing() bool {
	return e.Scratch == "" && !e.Freezing && !e.Restart && e.Snapshot == "" && len(e.Overlays) == 0 && e.Checkpoint == ""
}

// journal is one guest's entry on disk, and the lock that keeps two runs from being at the same guest, whatever
// repositories they back it up to.
type journal struct {
	path  string
	lock  *os.File
	entry entry
	left  *entry // by a run that died; nil if none
}

// errJournalLocked means that a living process is at the guest.
var errJournalLocked = errors.New("it is being backed up by another vaultfs process")

func journalDir(stateDir string) string { return filepath.Join(stateDir, "journal") }

// openJournal locks a guest's journal below the state directory. An entry that is found there is of a run that died.
func openJournal(stateDir string, e entry) (*journal, error) {
	dir := journalDir(stateDir)
	if err := makePassable(stateDir); err != nil { // QEMU passes through it to the scratch directory
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	e.PID, e.Since = os.Getpid(), time.Now().UTC().Truncate(time.Second)
	j := &journal{path: filepath.Join(dir, e.UUID+".json"), entry: e}
	var err error
	if j.lock, err = lockGuest(filepath.Join(dir, e.UUID+".lock")); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, busy(j.path)
	}
	if err == nil {
		j.left, err = readEntry(j.path)
	}
	if err != nil {
		if j.lock != nil {
			j.lock.Close()
		}
		return nil, err
	}
	return j, nil
}

// lockGuest locks a file that is made for that, and removed when it is given back. EWOULDBLOCK means that a living
// process holds it.
func lockGuest(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			return nil, err
		}
		if samePlace(f, path) {
			return f, nil
		}
		f.Close() // its holder removed it between our open and our lock
	}
}

// busy names the process that holds a journal, if it says so already.
func busy(path string) error {
	if e, err := readEntry(path); err == nil && e != nil {
		return fmt.Errorf("%w (process %d, since %s): wait until that has ended", errJournalLocked, e.PID, e.Since.Local().Format("15:04:05"))
	}
	return fmt.Errorf("%w: wait until that has ended", errJournalLocked)
}

// readEntry reads an entry; nil if there is none.
func readEntry(path string) (*entry, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var e entry
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("journal %s cannot be read (%v): see there what a run that died has left, set it right by hand, and remove the file", path, err)
	}
	return &e, nil
}

// update changes the entry. It is durable when update returns: what it announces is done after that.
func (j *journal) update(change func(*entry)) error {
	next := j.entry
	next.Overlays = slices.Clone(j.entry.Overlays)
	change(&next)
	if err := j.write(&next); err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	j.entry = next
	return nil
}

func (j *journal) write(e *entry) error {
	dir := filepath.Dir(j.path)
	if e.nothing() {
		if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(dir)
	}
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// takeOver makes what a dead run has left the entry of this run, which sets it right from here on.
func (j *journal) takeOver() {
	j.entry = *j.left
	j.entry.PID, j.entry.Since = os.Getpid(), time.Now().UTC().Truncate(time.Second)
	j.left = nil
}

// close gives the lock back. An entry that is not empty stays for the next run.
func (j *journal) close() {
	os.Remove(j.lock.Name())
	j.lock.Close()
}

// leftEntries lists the guests that have an entry.
func leftEntries(stateDir string) (uuids []string, err error) {
	names, err := os.ReadDir(journalDir(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, n := range names {
		if uuid, ok := strings.CutSuffix(n.Name(), ".json"); ok && !strings.HasPrefix(uuid, ".") {
			uuids = append(uuids, uuid)
		}
	}
	return uuids, err
}
