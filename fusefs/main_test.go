package fusefs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// helperEnv makes the test binary another process: one that maps a file of a
// mount, which would deadlock a process that serves it, or one to be killed.
const helperEnv = "FUSEFS_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "mmap":
		check(hashMapped(os.Args[1]))
	case "mount":
		_, err := Mount(context.Background(), newFakeRepository(), os.Args[1], Options{})
		check(err)
		fmt.Println("mounted")
		select {}
	case "poll":
		check(pollOnce(os.Args[1]))
	default:
		sweepEvery = 100 * time.Millisecond
		goleak.VerifyTestMain(m)
	}
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// pollOnce has the kernel ask once whether files can be polled, and hear that they
// cannot. It asks when a Go program opens a file: one that also serves the mount
// might have no thread left to answer. The file is one of go-fuse's own.
func pollOnce(dir string) error {
	fd, err := unix.Open(filepath.Join(dir, ".go-fuse-epoll-hack"), unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err
}

// serve mounts a repository so that the test itself can open files in it.
func serve(t testing.TB, r Repository, dir string, o Options) *Server {
	t.Helper()
	s, err := Mount(context.Background(), r, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := helper("poll", dir).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return s
}

func hashMapped(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	fmt.Printf("%x\n", sha256.Sum256(data))
	return nil
}

// helper is this test binary as another process.
func helper(what string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+what)
	return cmd
}

// run runs a program that must succeed, and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// A conversation is with a program that waits for a word.
type conversation struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newConversation(t testing.TB, name string, args ...string) *conversation {
	t.Helper()
	c := &conversation{cmd: exec.Command(name, args...)}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// line is the next line that it prints.
func (c *conversation) line(t testing.TB) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// rest says a word, and returns all that it prints until it ends.
func (c *conversation) rest(t testing.TB, word string) string {
	t.Helper()
	if _, err := io.WriteString(c.in, word); err != nil {
		t.Fatal(err)
	}
	c.in.Close()
	all, err := io.ReadAll(c.out)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // its last command may well fail
	return string(all)
}

// sink collects what a mount reports.
type sink struct {
	mu    sync.Mutex
	lines []string
}

func (s *sink) log(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// mount shows a repository until the test ends, and collects what is reported.
func mount(t testing.TB, r Repository, o Options) (dir string, reported *sink) {
	t.Helper()
	reported = new(sink)
	o.Log = reported.log
	dir = t.TempDir()
	s := serve(t, r, dir, o)
	t.Cleanup(func() {
		// A program that another test starts at this moment has our open files
		// until it comes to exec, which on a busy machine may take a while.
		err := s.Unmount()
		for end := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(end); err = s.Unmount() {
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Error(err)
			Unmount(dir, true)
		}
	})
	return dir, reported
}

// newFakeRepository holds two snapshots of vm/win11 and some odd ones.
func newFakeRepository() *fakeRepository {
	r := &fakeRepository{disks: map[string]*fakeDisk{
		"vda":   newFakeDisk(40<<20+512, 60, 40),
		"vdb":   newFakeDisk(1000, 1, 1),
		"empty": newFakeDisk(0, 0, 0),
	}}
	r.commit("vm/win11", 1, noon, "vda", "vdb")
	r.commit("vm/win11", 2, noon.Add(time.Hour), "vda", "empty")
	r.commit("vm/win11", 3, noon.Add(time.Hour+time.Millisecond), "vda")
	r.commit("vm/.odd\n\xff name", 1, noon, "vda")
	return r
}

func mustEqual(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the %d that were expected", what, len(got), len(want))
	}
}
