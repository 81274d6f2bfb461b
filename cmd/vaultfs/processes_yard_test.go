package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A yard is a repository in which many processes are at work, and what is known of
// them.
type yard struct {
	*testing.T
	dir   string // for everything
	until time.Time

	mu        sync.Mutex
	sums      map[string]string // by source and round
	committed map[string][]int  // rounds of which an ingest said that they are, by source
	counts    map[string]int
	took      map[string]time.Duration // by what the process does, the last time
}

func newYard(t *testing.T) *yard {
	y := &yard{
		T: t, dir: t.TempDir(), sums: map[string]string{}, committed: map[string][]int{},
		counts: map[string]int{}, took: map[string]time.Duration{},
	}
	t.Cleanup(func() { unmountBelow(t, y.dir) })
	return y
}

func (y *yard) repo() string { return filepath.Join(y.dir, "repo") }

func (y *yard) count(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.counts[what]++
}

// An ending is how a process ended.
type ending struct {
	killed      bool // by us
	status      int
	out, errors string
}

// command makes a process of the program. Those of one cache share the local copy
// of the index, as on one host.
func (y *yard) command(cache string, args ...string) *exec.Cmd {
	cmd := exec.Command("vaultfs", args...)
	cmd.Env = append(os.Environ(), "VAULTFS_REPO="+y.repo(), "HOME="+y.dir, "XDG_CACHE_HOME="+filepath.Join(y.dir, "cache", cache),
		"VAULTFS_PASSWORD=", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs the program until it ends, or is killed at some moment if kill is given.
func (y *yard) run(cache string, kill *rand.Rand, stdin string, args ...string) ending {
	cmd := y.command(cache, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if stdin != "" {
		f, err := os.Open(stdin)
		if err != nil {
			y.Fatal(err)
		}
		defer f.Close()
		cmd.Stdin = f
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		y.Fatal(err)
	}
	var end ending
	shot := func() bool { return false }
	if kill != nil && kill.IntN(4) == 0 {
		shot = killLater(cmd, time.Duration(kill.Float64()*1.3*float64(y.usual(args[0]))))
	}
	err := cmd.Wait()
	end.killed = shot()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		end.status = exit.ExitCode()
	case err != nil:
		y.Fatal(err)
	}
	end.killed = end.killed && end.status == -1
	if end.out, end.errors = out.String(), complaints.String(); !end.killed {
		y.mu.Lock()
		y.took[args[0]] = time.Since(begin)
		y.mu.Unlock()
	} else {
		y.count("kills")
	}
	return end
}

// killLater kills a process and what it started after a time. The function that it
// returns ends that, and tells whether it was done.
func killLater(cmd *exec.Cmd, after time.Duration) (done func() bool) {
	ended, shot := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-ended:
			shot <- false
		case <-time.After(after):
			shot <- syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil
		}
	}()
	return func() bool {
		close(ended)
		return <-shot
	}
}

// usual is how long a process that does something runs.
func (y *yard) usual(what string) time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	if d := y.took[what]; d > 0 {
		return d
	}
	return time.Second
}

// must runs the program and wants it to end well.
func (y *yard) must(args ...string) string {
	y.Helper()
	end := y.run("end", nil, "", args...)
	if end.status != 0 {
		y.Fatalf("vaultfs %q: status %d\n%s%s", args, end.status, end.out, end.errors)
	}
	return end.out
}

// ingest backs a source up again and again.
func (y *yard) ingest(s *busySource, rnd *rand.Rand) {
	for time.Now().Before(y.until) && !y.Failed() {
		sum, args, stdin := s.change(y)
		y.mu.Lock()
		y.sums[fmt.Sprint(s.name, s.round)] = sum
		y.mu.Unlock()
		end := y.run(s.name, rnd, stdin, append(args, "-q")...)
		switch {
		case end.killed:
		case end.status != 0:
			y.Errorf("vaultfs %q: status %d\n%s%s", args, end.status, end.out, end.errors)
		default:
			y.count("ingests")
			y.mu.Lock()
			y.committed[s.name] = append(y.committed[s.name], s.round)
			y.mu.Unlock()
		}
	}
}

// collect collects again and again.
func (y *yard) collect(rnd *rand.Rand) {
	for time.Now().Before(y.until) && !y.Failed() {
		args := []string{"gc"}
		for _, some := range [][]string{{"--no-wait"}, {"--max-unused", "0%"}, {"--max-rewrite", "200K"}, {"--for", "300ms"}} {
			if rnd.IntN(3) == 0 {
				args = append(args, some...)
			}
		}
		end := y.run("gc", rnd, "", args...)
		switch {
		case end.killed:
		case end.status == statusFailed && slices.Contains(args, "--no-wait") && strings.Contains(end.errors, "in use"):
			y.count("gcs that did not wait")
		case end.status != 0:
			y.Errorf("vaultfs %q: status %d\n%s%s", args, end.status, end.out, end.errors)
		default:
			y.count("gcs")
		}
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
	}
}

// keepLast is how many snapshots of each source are kept.
const keepLast = 3

// forget forgets again and again.
func (y *yard) forget(rnd *rand.Rand) {
	for time.Now().Before(y.until) && !y.Failed() {
		args := []string{"forget", "--keep-last", fmt.Sprint(keepLast)}
		if rnd.IntN(4) == 0 {
			args = append(args, "--gc")
		}
		end := y.run("forget", rnd, "", args...)
		switch {
		case end.killed:
		case end.status != 0:
			y.Errorf("vaultfs %q: status %d\n%s%s", args, end.status, end.out, end.errors)
		default:
			y.count("forgets")
		}
		time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
	}
}

// read mounts, reads and compares again and again, and restores and verifies now and
// then.
func (y *yard) read(rnd *rand.Rand) {
	for n := 0; time.Now().Before(y.until) && !y.Failed(); n++ {
		switch n % 4 {
		case 2:
			end := y.run("read", rnd, "", "verify", "--read-data")
			if !end.killed && end.status != 0 {
				y.Errorf("verify: status %d\n%s%s", end.status, end.out, end.errors)
			} else if !end.killed {
				y.count("verifies")
			}
		case 0:
			y.restoreOne(rnd, filepath.Join(y.dir, fmt.Sprint("restored", n)))
		default:
			y.readMounted(rnd, filepath.Join(y.dir, fmt.Sprint("mnt", n)))
		}
	}
}

// restoreOne restores the newest snapshot of a source, which nobody forgets.
func (y *yard) restoreOne(rnd *rand.Rand, to string) {
	y.mu.Lock()
	var sources []string
	for name := range y.committed {
		sources = append(sources, name)
	}
	y.mu.Unlock()
	if len(sources) == 0 {
		return
	}
	source := sources[rnd.IntN(len(sources))]
	if err := os.Mkdir(to, 0o700); err != nil {
		y.Fatal(err)
	}
	defer os.RemoveAll(to)
	from, dest := source, to
	if file := filepath.Base(inside(source)); file != "." {
		_, item, _ := strings.Cut(source, "/")
		from, dest = source+":"+item, filepath.Join(to, file)
	}
	end := y.run("read", rnd, "", "restore", from, "--to", dest, "-q")
	switch {
	case end.killed:
		return
	case end.status != 0 && strings.Contains(end.errors, "not found"):
		return // newer ones were committed since it was chosen, and it was forgotten
	case end.status != 0:
		y.Errorf("restore %s: status %d\n%s%s", source, end.status, end.out, end.errors)
		return
	}
	restored := source
	if dest != to {
		restored = "stdin/" + filepath.Base(dest)
	}
	round, sum, err := sumSnapshot(os.DirFS(to), restored)
	if err != nil {
		y.Errorf("restored %s: %v", source, err)
		return
	}
	y.compare("restored", source, round, sum)
	y.count("restores")
}

func (y *yard) compare(how, source string, round int, sum string) {
	y.mu.Lock()
	want := y.sums[fmt.Sprint(source, round)]
	y.mu.Unlock()
	if sum != want {
		y.Errorf("%s: round %d of %s has the checksum %s, %q was ingested", how, round, source, sum, want)
	}
}

// readMounted mounts in a process of its own, reads for some seconds, and unmounts or
// kills.
func (y *yard) readMounted(rnd *rand.Rand, dir string) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		y.Fatal(err)
	}
	cmd := y.command("read", "mount", "--foreground", dir)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		y.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	defer func() {
		_ = unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has ended, or is to
		<-ended
		os.Remove(dir)
	}()
	if !y.waitMounted(dir, ended) {
		y.Errorf("mount: %s", complaints.String())
		return
	}
	shot := func() bool { return false }
	if rnd.IntN(3) == 0 {
		shot = killLater(cmd, time.Duration(rnd.IntN(3000))*time.Millisecond)
		y.count("kills")
	}
	var failed error
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && failed == nil; {
		failed = y.readOne(rnd, dir)
	}
	if killed := shot(); failed != nil && !killed {
		y.Errorf("reading through the mount: %v\n%s", failed, complaints.String())
	} else if !killed {
		y.must("umount", dir)
		<-ended
		if s := complaints.String(); strings.Contains(s, "pack ") || strings.Contains(s, "damage") {
			y.Errorf("the mount reports %s", s)
		}
	}
}

func (y *yard) waitMounted(dir string, ended chan struct{}) bool {
	for range 3000 {
		if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), " "+dir+" ") {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// readOne reads a snapshot through the mount. Once its directory is open it must all
// be there, forgotten or not. What is forgotten before that is no error.
func (y *yard) readOne(rnd *rand.Rand, mnt string) error {
	found, err := filepath.Glob(mnt + "/*/*/*Z*")
	if err != nil || len(found) == 0 {
		time.Sleep(20 * time.Millisecond)
		return err
	}
	at := found[rnd.IntN(len(found))]
	source, err := filepath.Rel(mnt, filepath.Dir(at))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(at)
	if errors.Is(err, os.ErrNotExist) {
		y.count("snapshots gone before they were read")
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	round, sum, err := sumSnapshot(root.FS(), source)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	y.compare("read", source, round, sum)
	y.count("snapshots read")
	return nil
}

// snapshots lists what the repository holds, oldest first.
func (y *yard) snapshots() (all []snapshotJSON) {
	y.Helper()
	if err := json.Unmarshal([]byte(y.must("snapshots", "--json")), &all); err != nil {
		y.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b snapshotJSON) int { return a.Time.Compare(b.Time) })
	return all
}
