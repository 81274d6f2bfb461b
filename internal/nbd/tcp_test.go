package nbd

import (
	"net"
	"os"
	"os/exec"
	"testing"
)

// nbdkitTCP runs nbdkit on a free port. Systemd's protocol hands the listening socket over as descriptor 3, so that
// nobody can take the port in between; LISTEN_PID must be the server's own, which a shell knows before it execs.
func nbdkitTCP(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("sh", "-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec nbdkit --foreground --readonly pattern size=1M")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return l.Addr().String()
}
