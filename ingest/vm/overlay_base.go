package vm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// under is what the image below an overlay was when that was put over it. By it the image is told from another that
// somebody has put in its place meanwhile, like yesterday's from a backup: an overlay that is committed into that makes
// a mix of two disks which nothing would ever complain of.
type under struct {
	Device bool      `json:"device,omitempty"` // a block device: only its size is known to stay
	Boot   string    `json:"boot,omitempty"`   // of the host; Dev holds until the next
	Dev    uint64    `json:"dev,omitempty"`
	Ino    uint64    `json:"ino,omitempty"`
	Size   int64     `json:"size,omitempty"` // in bytes; 0 while the guest still wrote to it
	Mtime  time.Time `json:"mtime,omitzero"` // zero while the guest still wrote to it
}

// placeOf is what stays the same of an image that the guest writes to.
func placeOf(path string) (under, error) {
	s, err := stateOf(path)
	if err != nil {
		return under{}, err
	}
	if s.device {
		size, err := deviceSize(path)
		return under{Device: true, Size: size}, err
	}
	return under{Boot: bootID(), Dev: s.dev, Ino: s.ino}, nil
}

// underOf is what stays the same of an image that nothing writes to.
func underOf(path string) (under, error) {
	u, err := placeOf(path)
	if err != nil || u.Device {
		return u, err
	}
	s, err := stateOf(path)
	u.Size, u.Mtime = s.size, s.mtime.UTC()
	return u, err
}

// bootID names the time since the host was started; "" if that cannot be told.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// deviceSize is in bytes.
func deviceSize(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, io.SeekEnd)
}

// differs says in what an image is another one now; "" if it is the same. One that a commit has begun to write to may
// have grown, and has another time. Of an image of which nothing is known nothing is said.
func (u under) differs(now under, written bool) string {
	switch {
	case u == under{}:
		return ""
	case u.Device != now.Device:
		return "a file and not a block device, or the other way round"
	case u.Device && u.Size != now.Size:
		return fmt.Sprintf("of %d bytes, and was of %d", now.Size, u.Size)
	case u.Device:
		return ""
	case u.Ino != now.Ino, u.Boot == now.Boot && u.Dev != now.Dev:
		return "not the same inode"
	case u.Size > 0 && (now.Size < u.Size || !written && now.Size != u.Size):
		return fmt.Sprintf("of %d bytes, and was of %d", now.Size, u.Size)
	case !written && !u.Mtime.IsZero() && !u.Mtime.Equal(now.Mtime):
		return fmt.Sprintf("last written to at %s, and was at %s", now.Mtime.Format(time.RFC3339Nano), u.Mtime.Format(time.RFC3339Nano))
	}
	return ""
}

// errOtherBase means that an overlay does not belong to what is below it now.
var errOtherBase = errors.New("the image below is another file now, and the overlay belongs to the old one")

// mustBeItsBase refuses to commit an overlay into another image than that which it was put over. Written says that a
// block job, or a commit that came to no end, has written to it.
func (o overlay) mustBeItsBase(written bool) error {
	now, err := underOf(o.Base)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the image below, %s, is not there: put it back by mv", o.Base)
	}
	if err != nil {
		return fmt.Errorf("the image below, %s: %w", o.Base, err)
	}
	if what := o.Under.differs(now, written); what != "" {
		return fmt.Errorf("%w: %s is %s; nothing was changed. If the old image is still somewhere, put it back by mv, not by cp; "+
			"if what is there now is to stay, move the overlay away and set the disk's source with virsh edit, all with the VM shut off. "+
			"If the VM runs, it is on the old one until it stops: save what it has first, with virsh blockcopy into a new image", errOtherBase, o.Base, what)
	}
	return nil
}

// begin makes sure that an overlay belongs to the image below, and writes down that this is written to from here on.
func (m *merger) begin(o overlay, written bool) error {
	at := slices.IndexFunc(m.journal.entry.Overlays, func(one overlay) bool { return one.File == o.File })
	if at < 0 {
		return o.mustBeItsBase(written)
	}
	now := m.journal.entry.Overlays[at]
	if err := now.mustBeItsBase(written || now.Begun); err != nil || now.Begun {
		return err
	}
	return m.journal.update(func(e *entry) { e.Overlays[at].Begun = true })
}
