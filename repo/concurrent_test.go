package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// overlapping are backups of different sources with much in common.
func overlapping(n int) (all []backup) {
	for i := range n {
		all = append(all, overlap(i))
	}
	return all
}

func overlap(i int) backup {
	b := newBackup(fmt.Sprintf("vm/%d", i), 10).changed(uint64(1000 + 2*i))
	b.nvram = random(uint64(2000+i), 700)
	return b
}

func TestSessionsOfOneProcess(t *testing.T) {
	defer repo.SmallPacks()()
	r := newRepo(t, newStore(t))
	all := overlapping(4)
	snaps := make([]*repo.Snapshot, len(all))
	var group sync.WaitGroup
	for i, b := range all {
		group.Go(func() {
			var err error
			if snaps[i], err = b.ingest(context.Background(), r); err != nil {
				t.Errorf("%s: %v", b.source, err)
			}
		})
	}
	group.Wait()
	for i, b := range all {
		if snaps[i] != nil {
			b.mustRead(t, r, snaps[i])
		}
	}
}

// The environment variable makes the test binary another process of a test.
const childEnv = "VAULTFS_TEST_INGEST"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child ingests the backup of a number into the repository in a directory.
func child(job string) error {
	dir, number, _ := strings.Cut(job, "|")
	var n int
	fmt.Sscan(number, &n)
	defer repo.SmallPacks()()
	st, err := store.OpenDir(dir)
	if err != nil {
		return err
	}
	r, err := repo.Open(context.Background(), st, repo.OpenOptions{Password: []byte("secret")})
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = overlap(n).ingest(context.Background(), r)
	return err
}

func startChild(t *testing.T, dir string, n int) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	// A program built with -race sleeps for a second at its end.
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", childEnv, dir, n), "GORACE=atexit_sleep_ms=0")
	said := new(bytes.Buffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, said
}

// newDirStore makes a repository in a real directory, where fsync costs nothing.
func newDirStore(t *testing.T) (dir string, st *store.Dir) {
	t.Helper()
	dir = tmpfs(t, 200<<10) + "/repository"
	st, err := store.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	initRepo(t, st)
	return dir, st
}

func TestSessionsOfSeveralProcesses(t *testing.T) {
	dir, st := newDirStore(t)
	var cmds []*exec.Cmd
	var said []*bytes.Buffer
	for n := range 3 {
		cmd, out := startChild(t, dir, n)
		cmds, said = append(cmds, cmd), append(said, out)
	}
	r := open(t, st)
	mustIngest(t, r, overlap(3))
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, said[i])
		}
	}
	all := mustSnapshots(t, r)
	if len(all) != 4 {
		t.Fatalf("%d snapshots, want 4", len(all))
	}
	for _, s := range all {
		for _, b := range overlapping(4) {
			if b.source == s.Source {
				b.mustRead(t, r, s)
			}
		}
	}
	checkExplained(t, st)
}

func TestOneSessionOfASourceAtATime(t *testing.T) {
	r := newRepo(t, newStore(t))
	o := repo.SessionOptions{Source: "vm/a", Kind: "vm", Machine: "m"}
	s, err := r.NewSession(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewSession(t.Context(), o); !errors.Is(err, repo.ErrSourceBusy) {
		t.Errorf("second session: %v", err)
	}
	other, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/b", Kind: "vm"})
	if err != nil {
		t.Fatalf("another source: %v", err)
	}
	for _, s := range []*repo.Session{s, other} {
		if err := s.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if s, err = r.NewSession(t.Context(), o); err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	s.Abort(t.Context())
}

// Whoever wins, the snapshots of a source are numbered one after the other.
func TestRaceForASource(t *testing.T) {
	const each = 4
	r := newRepo(t, newStore(t))
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for n := 0; n < each; {
				s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Kind: "vm"})
				if errors.Is(err, repo.ErrSourceBusy) {
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.AddFile(t.Context(), "f", strings.NewReader(fmt.Sprint(i, n))); err != nil {
					t.Error(err)
				}
				if _, err := s.Commit(t.Context(), repo.Info{}); err != nil {
					t.Error(err)
				}
				s.Abort(t.Context())
				n++
			}
		})
	}
	group.Wait()
	all := mustSnapshots(t, r)
	bySeq := map[uint64]*repo.Snapshot{}
	for _, s := range all {
		if bySeq[s.Seq] != nil {
			t.Errorf("two snapshots are number %d", s.Seq)
		}
		bySeq[s.Seq] = s
	}
	for n := uint64(1); n <= 4*each; n++ {
		s := bySeq[n]
		if s == nil {
			t.Fatalf("there is no snapshot number %d", n)
		}
		if n > 1 && s.Previous != bySeq[n-1].ID {
			t.Errorf("snapshot %d names another one before it", n)
		}
	}
}

func TestSourceOfAnotherMachine(t *testing.T) {
	r := newRepo(t, newStore(t))
	commit := func(machine string, adopt bool) error {
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Kind: "vm", Machine: machine, Adopt: adopt})
		if err != nil {
			return err
		}
		_, err = s.Commit(t.Context(), repo.Info{})
		return err
	}
	if err := commit("one", false); err != nil {
		t.Fatal(err)
	}
	if err := commit("two", false); !errors.Is(err, repo.ErrSourceTaken) || !strings.Contains(err.Error(), "one") {
		t.Errorf("another machine: %v", err)
	}
	if err := commit("two", true); err != nil {
		t.Errorf("adopted: %v", err)
	}
	if err := commit("two", false); err != nil {
		t.Errorf("after that: %v", err)
	}
	if err := commit("one", false); !errors.Is(err, repo.ErrSourceTaken) {
		t.Errorf("the first machine again: %v", err)
	}
}
