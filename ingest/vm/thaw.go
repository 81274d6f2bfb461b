package vm

import (
	"errors"
	"fmt"
	"time"

	"vaultfs/internal/virt"

	"libvirt.org/go/libvirt"
)

const (
	// thawTries is how often a thaw that failed is tried again at once.
	thawTries = 3
	// thawPause is between two tries of a thawer.
	thawPause = 2 * time.Second
)

// thawGuest tries a few times: an agent under load may answer late.
func thawGuest(d freezer) (err error) {
	for range thawTries {
		if err = d.FSThaw(nil, 0); err == nil {
			return nil
		}
	}
	return virt.Sentence(err)
}

// thawLeft thaws a guest that a killed run may have left frozen. The note says so; a warning says that it failed.
func thawLeft(name string, d freezer, timeout time.Duration) (note, warning string) {
	defer answerWithin(d, timeout)()
	if err := d.FSThaw(nil, 0); err != nil {
		return "", stuck(name, virt.Sentence(err))
	}
	return "a run of vaultfs was killed while it read this guest: the guest was told to thaw, in case it was left frozen", ""
}

// answerWithin sets how long the agent may take to answer, since libvirt's calls cannot be cancelled. What it was before
// cannot be asked; the function that puts it back makes it libvirt's default, to wait without end.
func answerWithin(d freezer, timeout time.Duration) (restore func()) {
	if err := d.AgentSetResponseTimeout(int(max(timeout, time.Second)/time.Second), 0); err != nil {
		return func() {}
	}
	return func() { d.AgentSetResponseTimeout(int(libvirt.DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK), 0) }
}

// thawer keeps trying to thaw a guest that may be frozen, or may freeze when its agent comes to the order, for as long
// as the guest is being read. The agent takes orders in turn: once it has answered to a thaw, no freeze is waiting.
type thawer struct {
	stop, ended chan struct{}
	err         error // of the last try; read it after ended
}

func keepThawing(d freezer) *thawer {
	t := &thawer{stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		for {
			if t.err = d.FSThaw(nil, 0); t.err == nil {
				return
			}
			select {
			case <-t.stop:
				return
			case <-time.After(thawPause):
			}
		}
	}()
	return t
}

// finish waits for the try that is going on; an error says what to do.
func (t *thawer) finish(name string) error {
	close(t.stop)
	<-t.ended
	if t.err == nil {
		return nil
	}
	return errors.New(stuck(name, virt.Sentence(t.err)))
}

func stuck(name string, err error) string {
	return fmt.Sprintf("VM %q may still be frozen, its guest agent does not answer (%v): when it does, run virsh domfsthaw %s", name, err, name)
}
