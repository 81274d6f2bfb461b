package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeVirsh puts a virsh in the PATH that writes down how it was called.
func fakeVirsh(t *testing.T) (called func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "called")
	if err := os.WriteFile(filepath.Join(dir, "virsh"), []byte("#!/bin/sh\necho \"$@\" >>"+log+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		b, _ := os.ReadFile(log)
		return strings.TrimSpace(string(b))
	}
}

func TestLifelineThawsWhenWeDie(t *testing.T) {
	called := fakeVirsh(t)
	l, err := startLifeline("test:///default", "uuid", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l.pipe.Close() // as the kernel does when a process dies
	waitFor(t, "the thaw", func() bool { return called() == "-q -c test:///default domfsthaw uuid" })
}

func TestLifelineThawsWhenWeAreStopped(t *testing.T) {
	called := fakeVirsh(t)
	l, err := startLifeline("test:///default", "uuid", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the thaw", func() bool { return called() != "" })
	l.end(true) // we go on: the pipe has nobody at its other end any more
}

func TestLifelineLeavesAThawedGuestAlone(t *testing.T) {
	called := fakeVirsh(t)
	l, err := startLifeline("test:///default", "uuid", 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	l.end(true)
	time.Sleep(600 * time.Millisecond)
	if got := called(); got != "" {
		t.Errorf("virsh %s", got)
	}
}

// Without a lifeline the guest is not frozen.
func TestNoFreezeWithoutALifeline(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := startLifeline("test:///default", "uuid", time.Minute); err == nil || !strings.Contains(err.Error(), "libvirt-clients") {
		t.Errorf("%v", err)
	}
}
