package bench

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParsePeak(t *testing.T) {
	for text, want := range map[string]int64{
		"VmPeak:\t  9 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n": 12345 * 1024,
		"VmHWM:\n":        0,
		"Name:\tzombie\n": 0,
		"":                0,
	} {
		if got := parsePeak([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestRunMeasuresAndSaysWhatFailed(t *testing.T) {
	u, out, err := Command{Program: "sh", Args: []string{"-c", "echo $WHAT; sleep 0.1"}, Env: []string{"WHAT=this"}}.Run(t.Context())
	if err != nil || string(out) != "this\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if u.Wall < 100*time.Millisecond || u.Peak < 100<<10 || u.Peak > 50<<20 {
		t.Errorf("%+v", u)
	}
	_, err = Run(t.Context(), nil, "sh", "-c", "echo why >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "why") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
}

func TestThePeakIsThatOfAllProcesses(t *testing.T) {
	// Two shells that hold 20 MB each beside their parent.
	hold := `x=$(head -c 20000000 /dev/zero | tr '\0' x); sleep 0.5; :`
	u, err := Run(t.Context(), nil, "sh", "-c", "("+hold+") & ("+hold+"); wait")
	if err != nil {
		t.Fatal(err)
	}
	if u.Peak < 40e6 {
		t.Errorf("%d bytes", u.Peak)
	}
}

func TestWhatACommandStartedEndsWithIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for range 1000 {
			if b, _ := os.ReadFile(file); strings.HasSuffix(string(b), "\n") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if _, err := Run(ctx, nil, "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $! >"+file+"; wait"); err == nil {
		t.Fatal("no error")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	for begin := time.Now(); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// zombie tells whether a process has ended and nobody has asked for its status.
func zombie(pid int) bool {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return strings.Contains(string(status), "State:\tZ")
}

func TestEndedAndStop(t *testing.T) {
	p, err := Command{Program: "sleep", Args: []string{"600"}}.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Ended(); err != nil {
		t.Error(err)
	}
	p.Kill()
	if err := p.Ended(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	p.Stop() // of one that has ended
}
