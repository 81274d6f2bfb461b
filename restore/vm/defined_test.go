package vm

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"vaultfs/internal/testguest"
	"vaultfs/internal/virt"
)

// forgetful is a libvirt whose connection breaks as it answers a virDomainDefineXML: the daemon has done it, and the
// client does not hear of it.
type forgetful struct {
	uri      string
	defining atomic.Bool // such a call is on its way
}

func newForgetful(t *testing.T) *forgetful {
	t.Helper()
	socket := filepath.Join(testguest.Dir(t), "libvirt-sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &forgetful{uri: "qemu+unix:///system?socket=" + socket}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(client)
		}
	}()
	return f
}

func (f *forgetful) serve(client net.Conn) {
	defer client.Close()
	daemon, err := net.Dial("unix", "/var/run/libvirt/libvirt-sock")
	if err != nil {
		return
	}
	defer daemon.Close()
	go func() {
		defer daemon.Close()
		forward(daemon, client, func(header []byte) bool {
			if isDefine(header) {
				f.defining.Store(true)
			}
			return true
		})
	}()
	forward(client, daemon, func(header []byte) bool { return !isDefine(header) })
}

// packetHeader is the length, program, version, procedure, type, serial and status of libvirt's RPC, 4 bytes each.
const packetHeader = 28

// isDefine tells whether a packet is a call of REMOTE_PROC_DOMAIN_DEFINE_XML or the answer to it (libvirt's
// remote_protocol.x).
func isDefine(header []byte) bool {
	return binary.BigEndian.Uint32(header[4:]) == 0x20008086 && binary.BigEndian.Uint32(header[12:]) == 11
}

// forward copies packets as long as they pass.
func forward(to io.Writer, from io.Reader, passes func(header []byte) bool) {
	for {
		header := make([]byte, packetHeader)
		if _, err := io.ReadFull(from, header); err != nil || !passes(header) {
			return
		}
		if _, err := to.Write(header); err != nil {
			return
		}
		if _, err := io.CopyN(to, from, int64(binary.BigEndian.Uint32(header))-packetHeader); err != nil {
			return
		}
	}
}

// workedOut is a plan that is made, and reaches libvirt by connect when it is carried out.
func workedOut(t *testing.T, ctx context.Context, w *world, o Options, connect func(uri string) (*virt.Host, error)) *plan {
	t.Helper()
	doc, err := readDefinition(ctx, w.repo, w.snap)
	if err != nil {
		t.Fatal(err)
	}
	h, err := virt.Connect(testguest.URI)
	if err != nil {
		t.Fatal(err)
	}
	p := &plan{repo: w.repo, snap: w.snap, host: h, connect: connect, options: &o, doc: doc, domain: doc.Root(), result: &Result{URI: h.URI}}
	t.Cleanup(func() { p.host.Close() })
	if err := p.workOut(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestALostAnswerDoesNotLoseTheDisks: the domain is defined, so its disks must stay, and it is as good as any other.
func TestALostAnswerDoesNotLoseTheDisks(t *testing.T) {
	w, name := small(t, "/nonexistent", "")
	f, dir, dials := newForgetful(t), testguest.Dir(t), 0
	p := workedOut(t, t.Context(), w, Options{DiskDir: dir}, func(string) (*virt.Host, error) {
		if dials++; dials == 1 {
			return virt.Connect(f.uri)
		}
		return virt.Connect(testguest.URI)
	})
	d, err := p.apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free()
	if got, err := d.GetName(); err != nil || got != name || !f.defining.Load() || dials != 2 {
		t.Errorf("VM %q, %v, after %d connections", got, err, dials)
	}
	wantSame(t, dir+"/"+name+"-vdb.raw", string(diskB))
}

// TestWithoutAnAnswerNothingIsRemoved: libvirt is gone for good after that call.
func TestWithoutAnAnswerNothingIsRemoved(t *testing.T) {
	w, name := small(t, "/nonexistent", "")
	f, dir, dials := newForgetful(t), testguest.Dir(t), 0
	ctx, cancel := context.WithCancel(t.Context())
	p := workedOut(t, ctx, w, Options{DiskDir: dir}, func(string) (*virt.Host, error) {
		if dials++; dials == 1 {
			return virt.Connect(f.uri)
		}
		cancel() // or it is tried for a while
		return nil, errors.New("no libvirt")
	})
	_, err := p.apply(ctx)
	wantError(t, err, name, "whether libvirt has defined it is not known", "no libvirt", "is kept: "+dir+"/"+name+"-vda.qcow2, "+dir+"/"+name+"-vdb.raw", "virsh -c "+testguest.URI+" dominfo")
	if !errors.Is(err, ErrUndecided) || strings.Contains(err.Error(), "was removed") {
		t.Errorf("%v", err)
	}
	wantSame(t, dir+"/"+name+"-vdb.raw", string(diskB))
	if state := testguest.Virsh(t, "domstate", name); state != "shut off" {
		t.Errorf("VM is %s", state)
	}
}

// TestADomainOfOthersIsNotTakenForOurs: one with the same UUID but other disks was not defined by this restore.
func TestADomainOfOthersIsNotTakenForOurs(t *testing.T) {
	w, name := small(t, "/nonexistent", "")
	p := workedOut(t, t.Context(), w, Options{DiskDir: testguest.Dir(t)}, virt.Connect)
	if d, err := p.lookAgain(t.Context()); d != nil || err != nil {
		t.Errorf("before it is defined: %v %v", d, err)
	}
	file := filepath.Join(testguest.Dir(t), "other.xml")
	if err := os.WriteFile(file, []byte(definition(name, "/nonexistent", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "define", file)
	if d, err := p.lookAgain(t.Context()); d != nil || err != nil {
		t.Errorf("with other disks: %v %v", d, err)
	}
	p.files[0].path, p.files[1].path = "/nonexistent/a.qcow2", "/nonexistent/b.img"
	d, err := p.lookAgain(t.Context())
	if d == nil || err != nil {
		t.Fatalf("with its own disks: %v %v", d, err)
	}
	d.Free()
}
