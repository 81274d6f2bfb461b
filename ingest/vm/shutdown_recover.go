package vm

import (
	"context"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

const (
	// startTries is how often a start that fails is tried again, startPause what lies between.
	startTries = 3
	startPause = 2 * time.Second
	// startTime is how long a guest that was started may take until libvirt calls it running.
	startTime = time.Minute
	// orderWorks is how long after an order to shut down a guest that still runs may yet obey it.
	orderWorks = time.Hour
	// orderCounts is how long after an order, or after it was seen off, a guest that is found off is taken to be off
	// because of that: over one night to the next backup. Later on it is more likely that somebody wants it off, or has
	// it run elsewhere, where a second one would spoil its disks.
	orderCounts = 36 * time.Hour
)

// startAgain starts a guest, and waits until libvirt says that it runs. Found means that it was running already. The
// error goes on from a sentence about the guest.
func startAgain(l *link, name string) (found bool, err error) {
	for try := range startTries {
		if try > 0 {
			time.Sleep(startPause)
		}
		if active, looking := l.reach().IsActive(); looking == nil && active {
			found, err = try == 0, nil
			break
		}
		if err = l.reach().Create(); err == nil {
			break
		}
	}
	if err != nil {
		return false, fmt.Errorf("cannot be started again: %w; see to that, then run: virsh start %s", virt.Sentence(err), shellWord(name))
	}
	var state libvirt.DomainState
	runs, err := waitUntil(context.Background(), startTime, func() (bool, error) {
		var err error
		state, _, err = l.reach().GetState()
		return state == libvirt.DOMAIN_RUNNING || state == libvirt.DOMAIN_BLOCKED, err
	})
	if err != nil {
		return found, fmt.Errorf("may not run: %w; look with: virsh domstate %s", virt.Sentence(err), shellWord(name))
	}
	if !runs {
		return found, fmt.Errorf("is %s though it was started: look with: virsh domstate --reason %s", stateName(state), shellWord(name))
	}
	return found, nil
}

// stopped starts a guest that was shut down to be read.
//
//	guest     order, or seen off           what is done
//	runs      seen off, at any time        nothing: somebody has started it
//	runs      order less than orderWorks   the entry stays: it may still shut down
//	          ago
//	runs      order longer ago             nothing: it has not obeyed, and will not
//	is off    either less than             started: it was to be read, or obeyed when nobody waited any more
//	          orderCounts ago
//	is off    either longer ago            left off, said
func (f *fixer) stopped() error {
	e := f.journal.entry
	if !e.Restart {
		return nil
	}
	active, err := f.domain.IsActive()
	if err != nil {
		return virt.Sentence(err)
	}
	ordered, ago := !e.Ordered.IsZero(), time.Since(e.Ordered)
	at := e.Ordered.Local().Format("2006-01-02 15:04")
	switch {
	case active && ordered && ago < orderWorks:
		f.did("it was asked to shut down for a backup at %s and still runs: if it is off later, run this again", at)
		return nil
	case active && ordered:
		f.did("it was asked to shut down for a backup at %s and has not: it runs", at)
	case active:
		f.did("it was shut down to be read, and has been started since")
	case ordered && ago >= orderCounts:
		f.did("it was asked to shut down for a backup at %s and is off; as that is long ago it was left off: if it should run, virsh start %s", at, shellWord(e.VM))
	case !ordered && time.Since(e.Off) >= orderCounts:
		f.did("it was shut down to be read at %s, and the backup died; it was not started again, since that is long ago and it may be meant to be off, or run elsewhere: if it should run here, virsh start %s", e.Off.Local().Format("2006-01-02 15:04"), shellWord(e.VM))
	default:
		if _, err := startAgain(f.link, e.VM); err != nil {
			return fmt.Errorf("it was shut down to be read, and %w", err)
		}
		if ordered {
			f.did("started it: it was asked to shut down for a backup at %s, and did so only after that had given up", at)
		} else {
			f.did("started it: it had been shut down to be read")
		}
	}
	return f.journal.update(func(e *entry) { e.Restart, e.Ordered, e.Off = false, time.Time{}, time.Time{} })
}
