package vm

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"vaultfs/internal/testguest"
)

// daemonSocket is where libvirt's daemon is reached.
const daemonSocket = "/run/libvirt/libvirt-sock"

// gate is a way to libvirt's daemon of its own, whose connections a test breaks as a restart of the daemon does, while
// those of tests beside it stay.
type gate struct {
	uri string

	mu   sync.Mutex
	open map[net.Conn]bool // by those who came
}

func newGate(t *testing.T) *gate {
	t.Helper()
	testguest.Daemon(t)
	path := filepath.Join(testguest.Dir(t), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g := &gate{uri: "qemu+unix:///system?socket=" + path, open: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			go g.serve(c)
		}
	}()
	return g
}

// serve passes on what is said until one of the two sides ends.
func (g *gate) serve(c net.Conn) {
	defer c.Close()
	daemon, err := net.Dial("unix", daemonSocket)
	if err != nil {
		return // as if the daemon were away
	}
	defer daemon.Close()
	g.mu.Lock()
	g.open[c] = true
	g.mu.Unlock()
	go func() {
		io.Copy(c, daemon)
		c.Close()
	}()
	io.Copy(daemon, c)
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
}

// drop breaks every connection that came this way.
func (g *gate) drop(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.open) == 0 {
		t.Fatal("no connection to libvirt found")
	}
	for c := range g.open {
		c.Close()
	}
}
