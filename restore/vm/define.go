package vm

import (
	"context"
	"errors"

	"vaultfs/internal/virt"
	"vaultfs/repo"
	"vaultfs/restore"
)

// Options says how a guest is brought back.
type Options struct {
	Name     string            // of the new domain; "" is the name that it had
	DiskDir  string            // where its disks go, made if it is missing; "" is where they were, if images belong there
	Connect  string            // libvirt's URI; "" is the one libvirt prefers
	Start    bool              // start it
	Progress *restore.Progress // may be nil
}

// Result is what was made, and what differs from the guest that was backed up.
type Result struct {
	Name, UUID string
	URI        string             // of the libvirt that has it
	Written    []*restore.Written // in the order they were written
	Changes    []string           // "UUID: … instead of …, which VM "x" has"
	Notes      []string           // what is not as it was, and need not be
	Warnings   []string           // what is to be seen to before the guest starts
	Started    bool
}

// ErrNotStarted is in the error of a guest that was restored whole and does not start. The result comes beside it.
var ErrNotStarted = errors.New("it does not start")

// Define makes a guest of a snapshot again: its disks, its firmware's variables, its TPM's state, and a domain that has
// them. Whether all that can be done is looked at before the first byte is written. A domain, a file or a device that
// exists is never touched. After an error nothing is left of what was made, except with ErrNotStarted and ErrUndecided.
func Define(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, o Options) (*Result, error) {
	if o.Progress == nil {
		o.Progress = new(restore.Progress)
	}
	pin, err := r.Pin(ctx, "restore", snap)
	if err != nil {
		return nil, err
	}
	defer func() { _ = pin.Release(context.WithoutCancel(ctx)) }() // a lease that stays is broken by the next session
	doc, err := readDefinition(ctx, r, snap)
	if err != nil {
		return nil, err
	}
	h, err := virt.Connect(o.Connect)
	if err != nil {
		return nil, err
	}
	p := &plan{repo: r, snap: snap, host: h, connect: virt.Connect, options: &o, doc: doc, domain: doc.Root(), result: &Result{URI: h.URI}}
	defer func() { p.host.Close() }()
	if err := p.workOut(ctx); err != nil {
		return nil, err
	}
	d, err := p.apply(ctx)
	if err != nil {
		return nil, err
	}
	defer d.Free()
	if o.Start {
		err = p.start(ctx, d)
	}
	return p.result, err
}
