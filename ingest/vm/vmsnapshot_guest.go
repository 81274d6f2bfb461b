package vm

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"

	"vaultfs/ingest"
	"vaultfs/internal/virt"
)

// atGuest is a guest that is held by its journal, so that no backup is made of it meanwhile.
type atGuest struct {
	name     string
	stateDir string
	host     *virt.Host
	domain   *libvirt.Domain
	link     *link
	journal  *journal
	done     []string // what a run that died had left, and was set right
}

// openGuest takes hold of a guest, and sets right what a run that died has left of it.
func openGuest(ctx context.Context, uri, stateDir, name string) (_ *atGuest, err error) {
	a := &atGuest{name: name, stateDir: stateDir}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.stateDir == "" {
		if a.stateDir, err = ingest.StateDir(); err != nil {
			return nil, err
		}
	}
	if a.host, err = virt.Connect(uri); err != nil {
		return nil, err
	}
	if a.domain, err = a.host.Lookup(name); err != nil {
		return nil, err
	}
	if a.link, err = newLink(a.domain); err != nil {
		return nil, fmt.Errorf("VM %q: %w", name, err)
	}
	if a.journal, err = openJournal(a.stateDir, entry{VM: name, UUID: a.link.uuid, URI: a.host.URI}); err != nil {
		return nil, fmt.Errorf("VM %q: %w", name, err)
	}
	if a.journal.left == nil {
		return a, nil
	}
	a.journal.takeOver()
	done, trouble, err := setRight(ctx, a.host, a.journal, nil)
	err = errors.Join(err, trouble)
	for _, what := range done {
		a.done = append(a.done, "after a run of vaultfs that died: "+what)
	}
	if err != nil {
		return nil, fmt.Errorf("VM %q: a run of vaultfs died while it was at this VM, and this cannot be set right: %w", name, err)
	}
	a.journal.entry.VM, a.journal.entry.URI = name, a.host.URI
	return a, nil
}

func (a *atGuest) close() {
	if a.journal != nil {
		a.journal.close()
	}
	if a.link != nil {
		a.link.close()
	}
	if a.domain != nil {
		a.domain.Free()
	}
	if a.host != nil {
		a.host.Close()
	}
}
