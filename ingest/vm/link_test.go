package vm

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vaultfs/internal/testguest"
)

// dropConnections breaks every connection of this process to libvirt, as a restart of its daemon does.
func dropConnections(t *testing.T) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	dropped := 0
	for _, f := range fds {
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		peer, err := unix.Getpeername(fd)
		if a, ok := peer.(*unix.SockaddrUnix); err == nil && ok && strings.Contains(a.Name, "/libvirt/") {
			if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
				t.Fatal(err)
			}
			dropped++
		}
	}
	if dropped == 0 {
		t.Fatal("no connection to libvirt found")
	}
}

func TestLostConnectionIsMadeAgain(t *testing.T) {
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	l, err := beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	dropConnections(t)
	if err := l.check(t.Context()); err != nil {
		t.Errorf("the job is given up with the connection: %v", err)
	}
	if _, err := l.files(); err != nil {
		t.Error(err)
	}
	dropConnections(t)
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
}

// lostWhileFrozen loses the connection in the window between freeze and thaw.
func lostWhileFrozen(t *testing.T, g *testguest.Guest) {
	_, d := domainOf(t, g)
	l, err := newLink(d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	q, err := frozenWhile(t.Context(), g.Name, l, agentTimeout, func() error {
		if !g.Frozen() {
			t.Error("guest is not frozen")
		}
		dropConnections(t)
		return nil
	})
	if err != nil || !q.frozen || q.warning != "" {
		t.Errorf("%+v, %v", q, err)
	}
	if g.Frozen() {
		t.Error("guest is still frozen")
	}
}
