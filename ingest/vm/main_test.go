package vm

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testguest"
	"vaultfs/internal/virt"
)

// childEnv makes the test binary a process to be killed: "begin NAME SCRATCHDIR" begins a live backup of the VM and
// hangs, "freeze NAME SCRATCHDIR" hangs while it is frozen, "ingest-STEP NAME STATEDIR" hangs at a step of a backup.
const childEnv = "VAULTFS_TEST_CHILD"

// children are the other deeds of such a process, by name: "NAME VM STATEDIR".
var children = map[string]func(r *run, hang func() error) error{
	"shutdown": shutDownChild,
	"merge":    mergeChild,
}

func TestMain(m *testing.M) {
	var what, name, dir string
	if n, _ := fmt.Sscan(os.Getenv(childEnv), &what, &name, &dir); n == 3 {
		fmt.Println("failed:", child(what, name, dir))
		os.Exit(1)
	}
	besideEachOther()
	os.Exit(m.Run())
}

// guests is how many tests run beside each other unless -parallel says so, each with its guest: what these take is
// time more than work.
const guests = 3

func besideEachOther() {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		flag.Set("test.parallel", strconv.Itoa(max(guests, runtime.GOMAXPROCS(0))))
	}
}

func child(what, name, dir string) error {
	hang := func() error {
		fmt.Println("hangs")
		time.Sleep(time.Hour)
		return nil
	}
	if step, ok := strings.CutPrefix(what, "ingest-"); ok {
		return ingestChild(step, name, dir, hang)
	}
	h, err := virt.Connect(uri)
	if err != nil {
		return err
	}
	d, err := h.Lookup(name)
	if err != nil {
		return err
	}
	if do := children[what]; do != nil {
		r, err := newTestRun(d, &Options{StateDir: dir})
		if err != nil {
			return err
		}
		return do(r, hang)
	}
	if what == "freeze" {
		l, err := newLink(d)
		if err != nil {
			return err
		}
		_, err = frozenWhile(context.Background(), name, l, time.Hour, hang)
		return err
	}
	state, err := os.MkdirTemp("", "vaultfs-test-state-")
	if err != nil {
		return err
	}
	r, err := newTestRun(d, &Options{ScratchDir: dir, StateDir: state, NoQuiesce: true, keepFree: nothing})
	if err != nil {
		return err
	}
	if _, err := beginLive(context.Background(), r); err != nil {
		return err
	}
	return hang()
}

// nothing need be kept free in a test's scratch directory.
func nothing(int64) int64 { return 0 }

// startChild starts a child and waits until it hangs. The function kills it, by SIGKILL.
func startChild(t *testing.T, what string, g *testguest.Guest, dir string, env ...string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childEnv+"="+what+" "+g.Name+" "+dir), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { cmd.Process.Kill(); cmd.Wait() }
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "hangs\n" {
		kill()
		t.Fatalf("child says %q", line)
	}
	return kill
}
