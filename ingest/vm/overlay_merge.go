package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/internal/virt"
)

// Taking an overlay off is: commit it into the image below, have libvirt name that image, remove the overlay. What is
// done next follows from what libvirt names and from the files alone, so it can be begun and ended by anybody, as often
// as need be. A mark beside the overlay (its name with ".committed") is made right before libvirt is told that the image
// below takes its place: QEMU does that only when all that is in it is in that image. It goes when that fails.
//
//	the guest | names the overlay  | block job | mark | what it is                        | what is done
//	----------+--------------------+-----------+------+-----------------------------------+-----------------------------------
//	runs      | live               | none      | any  | being read; killed; a job failed; | begin an active commit of this one
//	          |                    |           |      | the host was started again        | overlay, wait until it is ready
//	runs      | live               | running   | any  | killed while it was committed     | wait until it is ready
//	runs      | live               | ready     | any  | killed before or in the pivot     | mark, pivot
//	runs      | live, buried       | any       | any  | somebody put a snapshot over it   | nothing, said
//	runs      | inactive           | -         | yes  | libvirt died in the pivot         | inactive definition
//	runs      | inactive           | -         | no   | its disk was unplugged; not so if | commit offline; said, if the image
//	          |                    |           |      | the image below is in use itself  | below is in use itself
//	is off    | inactive           | -         | any  | it stopped, or the host did; or   | commit offline (again: nothing has
//	          |                    |           |      | killed while it was committed     | written to the image), mark, tell
//	is off    | saved              | -         | any  | it was saved meanwhile            | the same, the saved one is told too
//	is off    | inactive, buried   | -         | any  | somebody put a snapshot over it   | nothing, said
//	any       | none               | -         | yes  | killed before it was removed      | remove it
//	any       | none               | -         | no   | no snapshot was made: no file, or | remove it
//	          |                    |           |      | one without data                  |
//	any       | none               | -         | no   | there is data in it: the VM was   | nothing, said
//	          |                    |           |      | defined anew by somebody          |
//	any       | any, but no file   | -         | any  | somebody removed it               | running: commit, QEMU has it open;
//	          |                    |           |      |                                   | off: nothing, said
//
// An overlay is removed only where no definition names it. It is committed only into the image that it was put over, see
// overlay_base.go: if another file is there by now, nothing is done, and said.

// merger takes the overlays of a journal's entry off.
type merger struct {
	link     *link
	journal  *journal
	patience time.Duration // how long a commit may go on without coming nearer to its end
	did      func(format string, args ...any)
	reached  func(step string) // called at each step of a commit: committing, ready, marked, pivoted

	committed bool // the overlay that is being taken off, by this merger
}

const (
	commitPatience = 10 * time.Minute
	mergePause     = 100 * time.Millisecond
	// mergeTurns is how often what is to be done may change while it is done, as it does when the guest stops.
	mergeTurns = 10
)

func newMerger(l *link, j *journal) *merger {
	return &merger{link: l, journal: j, patience: commitPatience, did: func(string, ...any) {}, reached: func(string) {}}
}

// all takes every overlay off; one that fails does not keep the others. What is done is dropped from the journal.
func (m *merger) all() error {
	var failed []error
	for _, o := range m.journal.entry.Overlays {
		if err := m.merge(o); err != nil {
			failed = append(failed, m.explain(o, err))
		}
	}
	return oneLine(failed...)
}

// errAgain means that the guest is not what it was when the step was chosen.
var errAgain = errors.New("the guest keeps changing")

// merge takes one overlay off.
func (m *merger) merge(o overlay) (err error) {
	m.committed = false
	for range mergeTurns {
		var done bool
		if done, err = m.step(o); done || err != nil && !errors.Is(err, errAgain) {
			return err
		}
	}
	return err
}

// step does what is next. After the last one the overlay is gone.
func (m *merger) step(o overlay) (done bool, err error) {
	all, err := readDefinitions(m.link)
	if err != nil {
		return false, err
	}
	p := all.find(o)
	switch {
	case p.live.named():
		return false, m.commitLive(o, p)
	case p.inactive.named() && p.active && marked(o):
		return false, m.redefine(o)
	case p.inactive.named() && p.liveBase:
		return false, fmt.Errorf("the guest runs on %s itself, but its definition names the overlay: what is in the overlay is not committed; compare the two, see virsh dumpxml with and without --inactive", o.Base)
	case p.inactive.named() || p.saved.named():
		return false, m.commitOffline(o, p)
	}
	if target := all.lyingOn(o.File); target != "" {
		return false, fmt.Errorf("no definition names the overlay, but the images of disk %s lie on it by their headers: somebody has put another over it, remove that first", target)
	}
	return true, m.discard(o)
}

// explain says in what state a disk is left.
func (m *merger) explain(o overlay, err error) error {
	return fmt.Errorf("disk %s: its overlay was not committed back: %w; %s; when the cause is gone, vaultfs recover or the next backup finishes it", o.Target, err, m.state(o))
}

func (m *merger) state(o overlay) string {
	all, err := readDefinitions(m.link)
	p := place{}
	if err == nil {
		p = all.find(o)
	}
	switch {
	case p.live.named():
		return fmt.Sprintf("the guest goes on with the overlay %s over %s, and nothing is lost", o.File, o.Base)
	case !exists(o.File):
		return fmt.Sprintf("there is no %s, which was put over %s", o.File, o.Base)
	}
	return fmt.Sprintf("what the guest wrote last is in %s, over %s: do not remove it", o.File, o.Base)
}

// commitLive has QEMU commit an overlay that is in use, and go on with the image below. Only this overlay is committed:
// without SHALLOW it would go through the whole chain, into an image that other VMs may share.
func (m *merger) commitLive(o overlay, p place) error {
	n := p.live
	target := targetOf(n.disk)
	switch {
	case n.above != "":
		return o.buried(n.above)
	case n.below != o.Base:
		return fmt.Errorf("it lies on %q and not on %s, as it must", n.below, o.Base)
	}
	unmark(o) // of a pivot that did not come to pass
	if err := m.begin(o, n.disk.Mirror != nil); err != nil {
		return err
	}
	if n.disk.Mirror == nil {
		if err := m.beginCommit(target); err != nil {
			return m.again(o, err)
		}
	}
	m.reached("committing")
	if err := m.waitReady(o); err != nil {
		return err
	}
	m.reached("ready")
	return m.pivot(o, target)
}

// again is errAgain if the guest is stopping, which is then why a step failed: libvirt knows that a moment later.
func (m *merger) again(o overlay, err error) error {
	for range 30 {
		all, looking := readDefinitions(m.link)
		if looking == nil && !all.find(o).live.named() {
			return fmt.Errorf("%w: %w", errAgain, virt.Sentence(err))
		}
		time.Sleep(mergePause)
	}
	return virt.Sentence(err)
}

// discard removes an overlay that nothing names.
func (m *merger) discard(o overlay) error {
	if exists(o.File) {
		if err := discardable(o); err != nil {
			return err
		}
		if err := os.Remove(o.File); err != nil {
			return err
		}
		if !m.committed {
			m.did("removed the overlay of disk %s, all of whose data is in %s", o.Target, o.Base)
		}
	}
	unmark(o)
	if strings.HasSuffix(filepath.Dir(o.File), overlaysSuffix) {
		unix.Rmdir(filepath.Dir(o.File)) // fails while there is another overlay in it
	}
	return m.journal.update(func(e *entry) {
		for i := range e.Overlays {
			if e.Overlays[i].File == o.File {
				e.Overlays = append(e.Overlays[:i], e.Overlays[i+1:]...)
				return
			}
		}
	})
}

// discardable fails if an overlay that nothing names has data that may not be anywhere else.
func discardable(o overlay) error {
	if marked(o) {
		return nil
	}
	data, err := holdsData(context.Background(), o)
	if err != nil {
		return err
	}
	if !data {
		return nil
	}
	if err := o.mustBeItsBase(o.Begun); err != nil {
		return fmt.Errorf("there is data in it, but the VM's definition does not name it any more, and %w", err)
	}
	return errors.New("there is data in it, but the VM's definition does not name it any more, somebody has changed that: " +
		"if the VM was not started since, commit it with qemu-img commit; then move it away")
}

// The mark is beside the overlay, since a journal's entry is about what is to be undone, not how far that is.

func markOf(o overlay) string { return o.File + ".committed" }

func marked(o overlay) bool { return exists(markOf(o)) }

// mark says, durably, that all that is in an overlay is in the image below where the overlay is not in use any more.
func mark(o overlay) error {
	f, err := os.OpenFile(markOf(o), os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the directory is gone, and so is what might be removed for the mark's sake
	}
	if err != nil {
		return err
	}
	f.Close()
	return syncDir(filepath.Dir(o.File))
}

func unmark(o overlay) { os.Remove(markOf(o)) }

// oneLine joins errors as one sentence after the other.
func oneLine(list ...error) error {
	var failed error
	for _, err := range list {
		switch {
		case err == nil:
		case failed == nil:
			failed = err
		default:
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	return failed
}
