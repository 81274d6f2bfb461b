package vm

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/testguest"
	"vaultfs/internal/virt"
)

const uri = testguest.URI

// domainOf connects to libvirt and looks a test's guest up.
func domainOf(t *testing.T, g *testguest.Guest) (*virt.Host, *libvirt.Domain) {
	t.Helper()
	return domainAt(t, uri, g)
}

// domainAt is domainOf by a way of its own.
func domainAt(t *testing.T, uri string, g *testguest.Guest) (*virt.Host, *libvirt.Domain) {
	t.Helper()
	h, err := virt.Connect(uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	d, err := h.Lookup(g.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Free() })
	return h, d
}

// newTestRun is what begins a way of reading: a backup of a guest that has no snapshot yet.
func newTestRun(d *libvirt.Domain, o *Options) (*run, error) {
	if o.Connect == "" {
		o.Connect = uri
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := &run{domain: d, options: o, result: new(Result), plan: plan{why: "the first backup", unmade: "a test"}}
	var err error
	if r.uuid, err = d.GetUUIDString(); err != nil {
		return nil, err
	}
	if r.name, err = d.GetName(); err != nil {
		return nil, err
	}
	if r.host, err = virt.Connect(o.Connect); err != nil {
		return nil, err
	}
	r.journal, err = openJournal(o.StateDir, entry{VM: r.name, UUID: r.uuid, URI: o.Connect})
	return r, err
}

// runOf is newTestRun with a journal of its own, which is closed when the test is over.
func runOf(t *testing.T, d *libvirt.Domain, o *Options) *run {
	t.Helper()
	o.StateDir = t.TempDir()
	r, err := newTestRun(d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.journal.close(); r.host.Close() })
	return r
}

// idle is a guest that runs its firmware and nothing else: enough for all that does not need an agent.
func idle(t *testing.T, spec testguest.Spec) *testguest.Guest {
	t.Helper()
	if spec.Disks == nil {
		spec.Disks = []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "64M"}}
	}
	g := testguest.Define(t, spec)
	for _, path := range g.Paths {
		fill(t, path)
	}
	g.Start()
	return g
}

// fill writes patterns with holes between them into an image.
func fill(t *testing.T, path string) {
	t.Helper()
	shell(t, "qemu-io", "-f", strings.TrimPrefix(filepath.Ext(path), "."),
		"-c", "write -P 0x11 0 1M", "-c", "write -P 0x22 5M 300k", "-c", "write -P 0x33 20M 7M", path)
}

func shell(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// copyOut reads a whole disk into a raw file.
func copyOut(ctx context.Context, t *testing.T, d openDisk, path string) error {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(d.Size()); err != nil {
		t.Fatal(err)
	}
	runs, err := d.Data(ctx, 0, d.Size())
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for _, r := range runs {
		for off, end := r.Off, r.Off+r.Len; off < end; {
			p := buf[:min(end-off, int64(len(buf)))]
			if err := d.ReadAt(ctx, p, off); err != nil {
				return err
			}
			if _, err := f.WriteAt(p, off); err != nil {
				t.Fatal(err)
			}
			off += int64(len(p))
		}
	}
	return nil
}

// wantSame fails unless a raw file holds the same bytes as an image.
func wantSame(t *testing.T, raw, image, format string) {
	t.Helper()
	shell(t, "qemu-img", "compare", "-f", "raw", "-F", format, raw, image)
}

// wantNoJob fails if a backup job, its socket or its directory is left.
func wantNoJob(t *testing.T, g *testguest.Guest, scratchDir string) {
	t.Helper()
	if out, err := exec.Command("virsh", "-c", uri, "backup-dumpxml", g.Name).CombinedOutput(); err == nil {
		t.Errorf("a backup job is left: %s", out)
	}
	left, err := os.ReadDir(scratchDir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the scratch directory: %v %v", left, err)
	}
}

func wantState(t *testing.T, g *testguest.Guest, want string) {
	t.Helper()
	if got := g.State(); got != want {
		t.Errorf("guest is %q, was %q", got, want)
	}
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	if bytes.ContainsRune([]byte(err.Error()), '\n') {
		t.Errorf("error is more than one line: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
