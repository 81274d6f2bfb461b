package tree

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// Between the making and the opening of a file or a directory somebody who may
// rename what lies beside it can put something else in its place. What that is
// gets no attributes.
func TestWhatIsNotNew(t *testing.T) {
	at := t.TempDir()
	for _, err := range []error{
		os.Mkdir(at+"/new", 0o700),
		os.Mkdir(at+"/private", 0o700), os.WriteFile(at+"/private/key", nil, 0o600),
		os.Mkdir(at+"/foreign", 0o700), os.Chown(at+"/foreign", 65534, 65534),
		unix.Mkfifo(at+"/new pipe", 0o600),
		unix.Mkfifo(at+"/foreign pipe", 0o600), os.Chown(at+"/foreign pipe", 65534, 65534),
		unix.Mkfifo(at+"/linked pipe", 0o600), os.Link(at+"/linked pipe", at+"/again"),
		syscall.Mknod(at+"/socket", unix.S_IFSOCK|0o600, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	parent, err := unix.Open(at, openDir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(parent)
	r := &restorer{root: -1}
	for name, fits := range map[string]bool{"new": true, "private": false, "foreign": false} {
		d := &dir{fd: -1}
		err := r.openDir(parent, name, d)
		if (err == nil) != fits || (!fits && (!errors.Is(err, errSwapped) || d.fd >= 0)) {
			t.Errorf("%s: %v", name, err)
		}
		if d.fd >= 0 {
			unix.Close(d.fd)
		}
	}
	for name, fits := range map[string]bool{"new pipe": true, "foreign pipe": false, "linked pipe": false, "socket": false} {
		fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = node{fd: fd, path: true}.isNew(&repo.Entry{Mode: unix.S_IFIFO | 0o644})
		if (err == nil) != fits || (!fits && !errors.Is(err, errSwapped)) {
			t.Errorf("%s: %v", name, err)
		}
		unix.Close(fd)
	}
}

// A file system that is mounted below the destination is made durable, too.
func TestMountedSystems(t *testing.T) {
	at := t.TempDir()
	for _, name := range []string{"mounted", "mounted/again", "beside"} {
		if err := os.Mkdir(at+"/"+name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("tmpfs", at+"/mounted", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at+"/mounted", unix.MNT_DETACH)
	if err := os.Mkdir(at+"/mounted/again", 0o700); err != nil {
		t.Fatal(err)
	}
	r := &restorer{root: -1, systems: map[uint64]*system{}}
	open := func(parent *dir, name string) *dir {
		d := &dir{parent: parent, fd: -1, path: parent.below(name), existed: true}
		if err := r.openDir(parent.fd, name, d); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(d.fd) })
		return d
	}
	root, err := unix.Open(at, openDir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	dest := &dir{fd: root, path: at, existed: true}
	if open(dest, "beside").apart || len(r.systems) != 0 {
		t.Errorf("%v", r.systems)
	}
	mounted := open(dest, "mounted")
	if again := open(mounted, "again"); !mounted.apart || !again.apart || len(r.systems) != 1 {
		t.Errorf("%v", r.systems)
	}
	for _, s := range r.systems {
		if s.path != at+"/mounted" {
			t.Errorf("%+v", s)
		}
		unix.Close(s.fd)
	}
}
