package vm

import (
	"errors"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"
)

// activeCommit is libvirt's name of the job, in the disk's <mirror>.
const activeCommit = "active-commit"

// beginCommit begins the commit of a disk's topmost image into the one right below.
func (m *merger) beginCommit(target string) error {
	return m.link.reach().BlockCommit(target, "", "", 0, libvirt.DOMAIN_BLOCK_COMMIT_ACTIVE|libvirt.DOMAIN_BLOCK_COMMIT_SHALLOW)
}

// waitReady waits until a commit has copied all that was in the overlay. What is written from then on goes to the overlay
// and is copied a little later, in the background (QEMU's mirror job, copy-mode background), until the pivot. libvirt says
// that it is so with ready='yes'; that a job has done as many bytes as it has to do says less. The job is in nobody's way,
// so there is no limit while it comes nearer to its end.
func (m *merger) waitReady(o overlay) error {
	left, since := uint64(1<<63), time.Now()
	for {
		all, err := readDefinitions(m.link)
		if err != nil {
			return err
		}
		n := all.find(o).live
		switch {
		case !n.named():
			return errAgain // the guest has stopped, or somebody was faster
		case n.disk.Mirror == nil:
			return m.again(o, fmt.Errorf("QEMU gave up the commit, for lack of space or a failure of %s: see dmesg and /var/log/libvirt/qemu", o.Base))
		case n.disk.Mirror.Job != activeCommit || n.mirror != o.Base:
			return fmt.Errorf("somebody has begun another block job (%s) on it: wait until that has ended", n.disk.Mirror.Job)
		case n.disk.Mirror.Ready == "yes":
			return nil
		}
		if now := m.bytesLeft(targetOf(n.disk)); now < left {
			left, since = now, time.Now()
		}
		if time.Since(since) > m.patience {
			return fmt.Errorf("its commit has come no nearer to its end for %v, with %d MiB to go: it goes on by itself", m.patience, left>>20)
		}
		time.Sleep(mergePause)
	}
}

// bytesLeft is what a job has still to copy; a great many if that cannot be told.
func (m *merger) bytesLeft(target string) uint64 {
	info, err := m.link.reach().GetBlockJobInfo(target, 0)
	if err != nil || info.End < info.Cur {
		return 1 << 63
	}
	return info.End - info.Cur
}

// pivot has the guest go on with the image below. QEMU holds the guest's writes for as long as it copies what is not yet
// there, and only then changes the image.
func (m *merger) pivot(o overlay, target string) error {
	if err := m.begin(o, true); err != nil {
		return err
	}
	if err := mark(o); err != nil {
		return err
	}
	m.reached("marked")
	if err := m.link.reach().BlockJobAbort(target, libvirt.DOMAIN_BLOCK_JOB_ABORT_PIVOT); err != nil {
		if err = m.again(o, err); !errors.Is(err, errAgain) {
			unmark(o)
		}
		return err
	}
	m.reached("pivoted")
	all, err := readDefinitions(m.link)
	if err != nil {
		return err
	}
	if n := all.naming(all.live, o.Base); all.active() && (!n.named() || n.above != "") {
		return fmt.Errorf("QEMU has committed it, but libvirt does not say that the disk is %s again", o.Base)
	}
	m.committed = true
	m.did("committed the overlay of disk %s into %s, while the guest ran", o.Target, o.Base)
	return nil
}
