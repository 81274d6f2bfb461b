package qemunbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vaultfs/internal/nbd"
)

func rawImage(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.raw")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func plain(path string) Options { return Options{Chain: []Layer{{Path: path, Format: "raw"}}} }

// gone fails unless nothing of the server is left.
func gone(t *testing.T, s *Server) {
	t.Helper()
	if _, err := os.Stat(filepath.Dir(s.Socket())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket directory: %v", err)
	}
	out, _ := exec.Command("pgrep", "-f", "--", "--socket="+s.Socket()).Output()
	if len(out) > 0 {
		t.Errorf("processes %q still run", out)
	}
}

// process finds the server's process by its socket.
func process(t *testing.T, socket string) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "--", "--socket="+socket).Output()
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convErr != nil {
		t.Fatalf("pgrep: %q %v %v", out, err, convErr)
	}
	return pid
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "jun'=': k,qemu-nbd: x")
	if err := os.WriteFile(junk, bytes.Repeat([]byte("junk"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", good, "1M")
	layer := func(path, format string) Options { return Options{Chain: []Layer{{Path: path, Format: format}}} }
	bitmap, snapshot := layer(good, "qcow2"), layer(good, "qcow2")
	bitmap.Bitmap, snapshot.Snapshot = "no,ne", "no,ne"
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no image":       {Options{}, "no image given"},
		"no path":        {layer("", "raw"), "path is empty"},
		"NUL":            {layer("a\x00b", "raw"), "NUL"},
		"no format":      {layer(good, ""), `"" is no name of a format`},
		"format smuggle": {layer(good, "raw,file.filename=/etc/passwd"), "is no name of a format"},
		"missing":        {layer(filepath.Join(dir, "missing"), "raw"), "no such file"},
		"directory":      {layer(dir, "raw"), "neither a file nor a block device"},
		"fifo":           {layer(fifo, "qcow2"), "neither a file nor a block device"},
		"character":      {layer("/dev/null", "raw"), "neither a file nor a block device"},
		"junk":           {layer(junk, "qcow2"), ": no qcow2 image"},
		"unknown":        {layer(good, "nosuch"), ": Unknown driver 'nosuch' (exit status 1)"},
		"no bitmap":      {bitmap, ": Bitmap 'no,ne' is not found (exit status 1)"},
		"no snapshot":    {snapshot, ": Failed to load snapshot: Can't find snapshot (exit status 1)"},
	} {
		s, err := Start(t.Context(), c.o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestMissingProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Start(t.Context(), plain(rawImage(t, 4096))); !errors.Is(err, exec.ErrNotFound) {
		t.Fatal(err)
	}
}

// TestCloseLeavesNothing with a client connected.
func TestCloseLeavesNothing(t *testing.T) {
	s := start(t, plain(rawImage(t, 1<<20)))
	info, err := os.Stat(filepath.Dir(s.Socket()))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatal(info.Mode(), err)
	}
	c := dial(t, s, nbd.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	gone(t, s)
	if err := c.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Fatal("a closed server was read")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestContextEndsServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Start(ctx, plain(rawImage(t, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-s.ended
	gone(t, s)
	if err := s.Close(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := Start(ctx, plain(rawImage(t, 1<<20))); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestKilledServer: reads in flight end with an error, and Close tells that the server had ended.
func TestKilledServer(t *testing.T) {
	s := start(t, plain(rawImage(t, 1<<30)))
	c := dial(t, s, nbd.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := make([]byte, 1<<20)
			for off := int64(i) << 20; ; off = (off + 8<<20) % (1 << 30) {
				if err := c.ReadAt(t.Context(), p, off); err != nil {
					if !strings.Contains(err.Error(), s.Socket()) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	if err := syscall.Kill(process(t, s.Socket()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	<-s.ended
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Fatal(err)
	}
	gone(t, s)
}

// TestThreadsMayEnd starts the server from a goroutine whose thread then ends, which must not take the server along.
func TestThreadsMayEnd(t *testing.T) {
	var s *Server
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		s = start(t, plain(rawImage(t, 1<<20)))
	})
	wg.Wait()
	for range 20 {
		wg.Go(runtime.LockOSThread)
	}
	wg.Wait()
	time.Sleep(50 * time.Millisecond)
	dial(t, s, nbd.Options{})
}

const childEnv = "QEMUNBD_TEST_CHILD"

// TestParentDies runs this test again as a process that starts a server and is then killed.
func TestParentDies(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		s, err := Start(context.Background(), plain(path))
		fmt.Println("socket:", s.Socket(), err)
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestParentDies$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+rawImage(t, 1<<20))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var socket string
	for socket == "" {
		var line string
		if _, err := fmt.Fscanln(out, &line, &socket); err != nil && line == "" {
			t.Fatal(err)
		}
		if line != "socket:" {
			socket = ""
		}
	}
	pid := process(t, socket)
	cmd.Process.Kill()
	cmd.Wait()
	defer os.RemoveAll(filepath.Dir(socket))
	for range 200 {
		if syscall.Kill(pid, 0) == syscall.ESRCH {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the server outlives its parent")
}

// TestLongTempDir: where the system's temporary directory is too deep for a socket, another is used.
func TestLongTempDir(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", deep)
	s, err := Start(t.Context(), plain("/proc/self/exe"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Socket()) > maxSocketPath {
		t.Fatal(s.Socket())
	}
	if left, _ := os.ReadDir(deep); len(left) > 0 {
		t.Fatal(left)
	}
}
