package nbd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// nbdkit runs the server until the test ends, on a unix socket; kill ends it earlier.
func nbdkit(t testing.TB, args ...string) (socket string, kill func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	var stderr bytes.Buffer
	cmd := exec.Command("nbdkit", append([]string{"--foreground", "--readonly", "--unix", socket}, args...)...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	kill = func() { cmd.Process.Kill(); <-ended }
	t.Cleanup(kill)
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket, kill
		}
		select {
		case <-ended:
			t.Fatalf("nbdkit %q: %s", args, stderr.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func dialNbdkit(t testing.TB, o Options, args ...string) (c *Client, socket string) {
	t.Helper()
	socket, _ = nbdkit(t, args...)
	c, err := Dial(t.Context(), "unix", socket, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, socket
}

// nbdcopied is the export as libnbd reads it.
func nbdcopied(t testing.TB, socket string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("nbdcopy", "--request-size=65536", "nbd+unix:///?socket="+socket, path).CombinedOutput(); err != nil {
		t.Fatalf("nbdcopy: %v %s", err, out)
	}
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readSparse reads what Data names, with four readers.
func readSparse(t testing.TB, c *Client) []byte {
	t.Helper()
	data, err := c.Data(t.Context(), 0, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, c.Size())
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(data)); i = next.Add(1) - 1 {
				e := data[i]
				if err := c.ReadAt(t.Context(), p[e.Offset:][:e.Length], e.Offset); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return p
}

var allocation = Options{Contexts: []string{ContextAllocation}, Connections: 2}

// TestServersOfAllKinds reads the same export from servers that can do more and less.
func TestServersOfAllKinds(t *testing.T) {
	plugin := []string{"data", "size=3000001", "data=1 2 3 @32768 0x10*512 @1048576 (0x20 0x21)*70000 @2999999 9 8"}
	for name, c := range map[string]struct {
		flags       []string
		parameters  []string
		contexts    int
		connections int
	}{
		"all":                   {nil, nil, 1, 2},
		"no extents":            {[]string{"--filter=noextents"}, nil, 1, 2},
		"no structured replies": {[]string{"--no-sr"}, nil, 0, 2},
		"no zeroes":             {[]string{"--filter=nozero"}, nil, 1, 2},
		"one connection":        {[]string{"--filter=multi-conn"}, []string{"multi-conn-mode=disable"}, 1, 1},
		"one thread":            {[]string{"--filter=noparallel"}, []string{"serialize=all-requests"}, 1, 2},
		"short reads":           {[]string{"--filter=blocksize-policy"}, []string{"blocksize-maximum=65536", "blocksize-preferred=4096", "blocksize-error-policy=error"}, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			client, socket := dialNbdkit(t, allocation, slices.Concat(c.flags, plugin, c.parameters)...)
			if len(client.Contexts()) != c.contexts || client.Connections() != c.connections || !client.ReadOnly() || client.Size() != 3000001 {
				t.Fatal(client.Contexts(), client.Connections(), client.ReadOnly(), client.Size())
			}
			want := nbdcopied(t, socket)
			if !bytes.Equal(want[1048576:][:4], []byte{0x20, 0x21, 0x20, 0x21}) || want[3000000] != 8 {
				t.Fatal("nbdcopy's result is not the data")
			}
			got := make([]byte, client.Size())
			if err := client.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, want) {
				t.Fatal("the whole differs:", err)
			}
			if !bytes.Equal(readSparse(t, client), want) {
				t.Fatal("what Data names differs")
			}
		})
	}
}

func TestSparseRandom(t *testing.T) {
	c, socket := dialNbdkit(t, allocation, "sparse-random", "size=64M", "percent=10", "seed=1", "runlength=65536")
	data, err := c.Data(t.Context(), 0, c.Size())
	if err != nil || len(data) < 10 {
		t.Fatal(len(data), err)
	}
	if !bytes.Equal(readSparse(t, c), nbdcopied(t, socket)) {
		t.Fatal("what Data names differs from what nbdcopy reads")
	}
}

// TestWholeBlocksOnly against a server that refuses what is not aligned.
func TestWholeBlocksOnly(t *testing.T) {
	c, _ := dialNbdkit(t, allocation, "--filter=blocksize-policy", "pattern", "size=1M",
		"blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=16384", "blocksize-error-policy=error")
	whole := make([]byte, 1<<20)
	if err := c.ReadAt(t.Context(), whole, 0); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int{{1, 1}, {4000, 200}, {5000, 50000}, {1<<20 - 1, 1}} {
		p := make([]byte, r[1])
		if err := c.ReadAt(t.Context(), p, int64(r[0])); err != nil || !bytes.Equal(p, whole[r[0]:][:r[1]]) {
			t.Fatal(r, err)
		}
		got, err := c.BlockStatus(t.Context(), ContextAllocation, int64(r[0]), int64(r[1]))
		if err != nil || !slices.Equal(got, []Extent{{int64(r[0]), int64(r[1]), 0}}) {
			t.Fatal(r, got, err)
		}
	}
}

// TestServerErrors: some reads fail with EIO, all others are right, on one connection.
func TestServerErrors(t *testing.T) {
	c, _ := dialNbdkit(t, Options{}, "--filter=error", "pattern", "size=1M", "error-pread=EIO", "error-pread-rate=30%")
	failed, p := 0, make([]byte, 8)
	for off := int64(0); off < 8*300; off += 8 {
		err := c.ReadAt(t.Context(), p, off)
		switch {
		case err == nil && p[7] == byte(off) && p[6] == byte(off>>8): // the pattern is the offset, big-endian
		case errors.Is(err, syscall.EIO):
			failed++
		default:
			t.Fatalf("%x %v", p, err)
		}
	}
	if failed == 0 || failed == 300 {
		t.Fatalf("%d of 300 failed", failed)
	}
}

// TestManyInFlight: a server that takes 0.2 s for each read is asked 32 times at once over one connection. One caller
// gives up early.
func TestManyInFlight(t *testing.T) {
	c, _ := dialNbdkit(t, Options{}, "--threads=32", "--filter=delay", "pattern", "size=1M", "rdelay=200ms")
	started := time.Now()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			p := make([]byte, 8)
			if err := c.ReadAt(t.Context(), p, int64(i)*8); err != nil || p[7] != byte(i*8) {
				t.Errorf("%x %v", p, err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.ReadAt(ctx, make([]byte, 8), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	wg.Wait()
	if d := time.Since(started); d > 32*200*time.Millisecond/2 {
		t.Errorf("%v: one after the other", d)
	}
}

// TestKilledServer kills it while it owes replies.
func TestKilledServer(t *testing.T) {
	socket, kill := nbdkit(t, "--threads=32", "--filter=delay", "pattern", "size=64M", "rdelay=60")
	c, err := Dial(t.Context(), "unix", socket, Options{Connections: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := c.ReadAt(t.Context(), make([]byte, 1<<20), int64(i)<<20)
			if err == nil || !strings.Contains(err.Error(), socket) || !strings.Contains(err.Error(), "connection lost") {
				t.Error(err)
			}
		})
	}
	for sent := 0; sent < 20; {
		sent = 0
		for _, conn := range c.conns {
			sent += len(conn.slots)
		}
		time.Sleep(time.Millisecond)
	}
	kill()
	wg.Wait()
}

func TestListAndURI(t *testing.T) {
	socket, _ := nbdkit(t, "--filter=exportname", "memory", "size=4096", "exportname=one", "exportname=t w/o",
		"exportname-list=explicit", "exportdesc=fixed:what it is")
	got, err := List(t.Context(), "unix", socket)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	for i, name := range []string{"one", "t w/o"} {
		e := got[i]
		if e.Name != name || e.Description != "what it is" || e.Size != 4096 || !e.ReadOnly || !slices.Equal(e.Contexts, []string{ContextAllocation}) {
			t.Fatalf("%+v", e)
		}
	}
	c, err := DialURI(t.Context(), "nbd+unix:///t%20w/o?socket="+socket, Options{})
	if err != nil || c.Size() != 4096 {
		t.Fatal(err)
	}
	c.Close()
}

// TestTCP connects through a port that the server was handed as a listening socket.
func TestTCP(t *testing.T) {
	c, err := DialURI(t.Context(), "nbd://"+nbdkitTCP(t)+"/", Options{Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := make([]byte, 1<<20)
	if err := c.ReadAt(t.Context(), p, 0); err != nil || p[1<<20-1] != 0xf8 {
		t.Fatalf("%x %v", p[1<<20-8:], err)
	}
}

func TestOldServer(t *testing.T) {
	socket, _ := nbdkit(t, "--oldstyle", "memory", "size=4096")
	if _, err := Dial(t.Context(), "unix", socket, Options{}); err == nil || !strings.Contains(err.Error(), "older handshake") {
		t.Fatal(err)
	}
}
