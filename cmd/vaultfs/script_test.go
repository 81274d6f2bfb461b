package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
	"vaultfs/repo/format"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vaultfs": main})
}

// TestScripts runs the program itself, as testdata/script/*.txtar say.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("there are no scripts (%v)", err)
	}
	testscript.Run(t, testscript.Params{
		Files:    scripts,
		Deadline: time.Now().Add(3 * time.Minute),
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/.cache")
			env.Setenv("VAULTFS_REPO", env.WorkDir+"/repo")
			env.Setenv("VAULTFS_STATE_DIR", env.WorkDir+"/state")
			env.Setenv("TZ", "UTC")
			env.Setenv("LC_ALL", "C")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each run under the race detector ends with a second's sleep
			env.Defer(func() { unmountBelow(t, env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": runStatus, "noise": makeNoise, "flip": flipData, "newer": makeNewer, "private": checkPrivate,
		},
	})
}

// runStatus is: status N program arg… It runs a program that must end with the
// exit status N.
func runStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program arg…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// makeNoise is: noise FILE BYTES [SEED]. It makes a file that no compressor
// shortens.
func makeNoise(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: noise FILE BYTES [SEED]")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var seed [32]byte
	copy(seed[:], strings.Join(args[2:], ""))
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// flipData is: flip REPO. It flips a bit in the middle of the largest pack.
func flipData(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip REPO")
	}
	packs, err := filepath.Glob(ts.MkAbs(args[0]) + "/packs/*/*")
	ts.Check(err)
	size := func(name string) int64 {
		info, err := os.Stat(name)
		ts.Check(err)
		return info.Size()
	}
	largest := slices.MaxFunc(packs, func(a, b string) int { return int(size(a) - size(b)) })
	b, err := os.ReadFile(largest)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(largest, b, 0o600))
	ts.Setenv("DAMAGED", filepath.Base(largest)[:16])
}

// makeNewer is: newer REPO. It makes the repository one of a later version.
func makeNewer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newer REPO")
	}
	name := ts.MkAbs(args[0]) + "/config"
	b, err := os.ReadFile(name)
	ts.Check(err)
	c, err := format.DecodeConfig(b)
	ts.Check(err)
	c.Read = []string{"of a later version"}
	ts.Check(os.WriteFile(name, c.Encode(), 0o600))
}

// checkPrivate is: private DIR. Everything in it must be for its owner alone.
func checkPrivate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: private DIR")
	}
	files := 0
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if got := info.Mode().Perm(); got != want {
			return fmt.Errorf("%s has mode %o, want %o", path, got, want)
		}
		return nil
	})
	ts.Check(err)
	if files == 0 {
		ts.Fatalf("%s holds no files", args[0])
	}
}

// unmountBelow takes away what a script that failed has left mounted.
func unmountBelow(t *testing.T, dir string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, dir+"/") {
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				t.Errorf("unmounting %s: %v", at, err)
			}
		}
	}
}
