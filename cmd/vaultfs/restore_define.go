package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/repo"
	"vaultfs/restore"
	"vaultfs/restore/vm"
)

// defineOptions are the flags of a restore that brings a VM back.
type defineOptions struct {
	define bool
	vm.Options
}

func (o *defineOptions) addTo(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.define, "define", false, "bring the VM back: its disks, NVRAM, TPM state and definition")
	f.StringVar(&o.Name, "name", "", "with --define: call the VM `NAME`")
	f.StringVar(&o.DiskDir, "disk-dir", "", "with --define: put its disks into `DIR`, which is made if it is missing")
	f.BoolVar(&o.Start, "start", false, "with --define: start it")
	f.StringVar(&o.Connect, "connect", "", "with --define: the libvirt `URI`, such as qemu:///system")
	_ = c.MarkFlagDirname("disk-dir")
	_ = c.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions)
	_ = c.RegisterFlagCompletionFunc("connect", cobra.FixedCompletions([]string{"qemu:///system", "qemu:///session"}, noFiles))
}

// check refuses flags that do not go together.
func (o *defineOptions) check(c *cobra.Command) error {
	with, without := []string{"name", "disk-dir", "start", "connect"}, []string{"to", "format", "force"}
	for _, name := range with {
		if c.Flags().Changed(name) && !o.define {
			return usage(c, "--%s needs --define", name)
		}
	}
	for _, name := range without {
		if c.Flags().Changed(name) && o.define {
			return usage(c, "--define and --%s exclude each other", name)
		}
	}
	for _, name := range []string{"name", "disk-dir"} {
		if c.Flags().Changed(name) && c.Flags().Lookup(name).Value.String() == "" {
			return usage(c, "--%s is empty", name)
		}
	}
	return nil
}

// define brings a VM back.
func (a *app) define(c *cobra.Command, r *repo.Repo, arg string, o defineOptions) error {
	ctx := c.Context()
	a.onInterrupt = "; what had been made was removed, and no VM was defined"
	if o.DiskDir != "" {
		if err := a.outside(nearest(o.DiskDir)); err != nil {
			return err
		}
	}
	snap, path, err := resolvePath(ctx, r, arg)
	if err != nil {
		return err
	}
	if path != "" {
		return usage(c, "--define brings back a whole VM: leave out the path %q", path)
	}
	begin := time.Now()
	o.Progress = new(restore.Progress)
	stop := a.restoring(o.Progress)
	result, err := vm.Define(ctx, r, snap, o.Options)
	stop()
	if result == nil {
		return err
	}
	a.print.defined(snap, result, time.Since(begin))
	if errors.Is(err, vm.ErrNotStarted) {
		return &statusError{statusPartial, err}
	}
	return err
}

// nearest is the directory, or the nearest above it that exists.
func nearest(dir string) string {
	dir = filepath.Clean(dir)
	for _, err := os.Lstat(dir); err != nil && dir != filepath.Dir(dir); _, err = os.Lstat(dir) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// definedJSON ends a restore with --define.
type definedJSON struct {
	Event    string        `json:"event"` // "summary"
	Snapshot string        `json:"snapshot"`
	Name     string        `json:"name"`
	UUID     string        `json:"uuid"`
	URI      string        `json:"uri"`
	Written  []writtenJSON `json:"written"`
	Changes  []string      `json:"changes"`
	Notes    []string      `json:"notes"`
	Warnings []string      `json:"warnings"`
	Started  bool          `json:"started"`
	Next     string        `json:"next"` // a command; "" if nothing is left to do
	Seconds  float64       `json:"seconds"`
}

// defined tells of a VM that was brought back.
func (p *printer) defined(s *repo.Snapshot, r *vm.Result, took time.Duration) {
	next := ""
	if !r.Started {
		next = fmt.Sprintf("virsh -c %s start %s", shellWord(r.URI), shellWord(r.Name))
	}
	if p.json {
		p.object(definedJSON{"summary", s.ID, r.Name, r.UUID, r.URI, toWrittenJSON(r.Written), list(r.Changes), list(r.Notes),
			list(r.Warnings), r.Started, next, took.Seconds()})
		return
	}
	for _, w := range r.Warnings {
		p.warn(fmt.Sprintf("VM %q: %s", r.Name, w))
	}
	p.writtenFiles(r.Written)
	for _, c := range r.Changes {
		p.remark("changed  %s\n", c)
	}
	for _, n := range r.Notes {
		p.remark("note     %s\n", n)
	}
	what := "defined"
	if r.Started {
		what = "defined and started"
	}
	p.remark("VM %s (UUID %s) is %s on %s, from snapshot %s of %s, %s, in %s\n", r.Name, r.UUID, what, r.URI, s.Short(), s.Source, localTime(s.Time), round(took))
	if next != "" {
		p.remark("start it with: %s\n", next)
	}
}

// writtenFiles tells what was written where.
func (p *printer) writtenFiles(written []*restore.Written) {
	for _, w := range written {
		form := w.Format
		if form == "" {
			form = "file"
		}
		p.remark("restored %s: %s, %s, of which %s hold data\n", w.Path, form, iec(w.Size), iec(w.Data))
	}
}
