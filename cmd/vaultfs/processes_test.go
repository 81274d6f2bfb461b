package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestProcesses has eight processes at work in one repository: four ingest, one
// mounts and reads, two collect, one forgets, and any of them is killed at any
// moment. When everything is quiet, all snapshots are whole, and the repository is
// as large as a fresh one of the same snapshots. VAULTFS_PROCESSES_FOR=10m lets it
// go on for that long, with larger sources.
func TestProcesses(t *testing.T) {
	long, pieces := 20*time.Second, 40
	if word := os.Getenv("VAULTFS_PROCESSES_FOR"); word != "" {
		var err error
		if long, err = time.ParseDuration(word); err != nil {
			t.Fatal(err)
		}
		pieces = 400
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	y := newYard(t)
	y.must("init", "--no-encryption")
	y.until = time.Now().Add(long)

	var working sync.WaitGroup
	actor := func(n uint64, work func(*rand.Rand)) {
		working.Go(func() { work(rand.New(rand.NewPCG(seed, n))) })
	}
	for n, name := range []string{"tree/t", "disk/a", "disk/b", "stdin/s"} {
		s := &busySource{name: name, dir: filepath.Join(y.dir, "sources", name), pieces: pieces, rnd: rand.New(rand.NewPCG(seed, uint64(100+n)))}
		actor(uint64(n), func(rnd *rand.Rand) { y.ingest(s, rnd) })
	}
	actor(4, y.read)
	actor(5, y.collect)
	actor(6, y.collect)
	actor(7, y.forget)
	working.Wait()
	if t.Failed() {
		t.FailNow()
	}
	y.quiet()
	y.whole()
	y.asSmallAsFresh()
	t.Logf("%v: %v", long, y.counts)
}

// quiet ends what the killed ones left, and wants no trace of them.
func (y *yard) quiet() {
	y.Helper()
	y.must("forget", "--keep-last", fmt.Sprint(keepLast))
	y.Log(y.must("gc"))
	var left []sessionJSON
	if err := json.Unmarshal([]byte(y.must("sessions", "--json")), &left); err != nil {
		y.Fatal(err)
	}
	if len(left) > 0 {
		y.Errorf("sessions are left: %v", left)
	}
	var plan gcJSON
	if err := json.Unmarshal([]byte(y.must("gc", "--dry-run", "--json")), &plan); err != nil {
		y.Fatal(err)
	}
	p := plan.Plan
	if p.Unlisted.Packs+p.Dead.Packs+p.Forgotten+len(p.Waiting)+len(p.Blocked) > 0 || p.Lost > 0 {
		y.Errorf("after everything was collected gc still plans %+v", p)
	}
	for _, dir := range []string{"sessions", "tmp"} {
		if files, err := os.ReadDir(filepath.Join(y.repo(), dir)); len(files) > 0 {
			y.Errorf("%s/ still holds %v, %v", dir, files, err)
		}
	}
}

// whole wants every snapshot to be what was ingested, and none to be missing.
func (y *yard) whole() {
	y.Helper()
	y.Log(y.must("verify", "--read-data"))
	rounds := map[string][]int{}
	y.mounted(func(mnt string) {
		found, err := filepath.Glob(mnt + "/*/*/*Z*")
		if err != nil {
			y.Fatal(err)
		}
		if n := len(y.snapshots()); n != len(found) {
			y.Errorf("there are %d snapshots, the mount shows %d", n, len(found))
		}
		for _, at := range found {
			source, err := filepath.Rel(mnt, filepath.Dir(at))
			if err != nil {
				y.Fatal(err)
			}
			round, sum, err := sumSnapshot(os.DirFS(at), source)
			if err != nil {
				y.Errorf("%s: %v", at, err)
				continue
			}
			y.compare("in the end", source, round, sum)
			rounds[source] = append(rounds[source], round)
		}
	})
	for source, said := range y.committed {
		have := slices.Sorted(slices.Values(rounds[source]))
		oldest := have[max(0, len(have)-keepLast)]
		for _, round := range said {
			if round >= oldest && !slices.Contains(have, round) {
				y.Errorf("round %d of %s was committed and is gone; there are %v", round, source, have)
			}
		}
		if len(have) < min(keepLast, len(said)) {
			y.Errorf("of %s there are %v, and %v were committed", source, have, said)
		}
	}
}

// mounted calls f with a mount of the repository.
func (y *yard) mounted(f func(mnt string)) {
	y.Helper()
	mnt := filepath.Join(y.dir, "mnt")
	if err := os.MkdirAll(mnt, 0o700); err != nil {
		y.Fatal(err)
	}
	y.must("mount", "--log", filepath.Join(y.dir, "log"), mnt)
	f(mnt)
	y.must("umount", mnt)
}

// asSmallAsFresh ingests all snapshots, in their order, into a fresh repository, and
// compares the sizes.
func (y *yard) asSmallAsFresh() {
	y.Helper()
	fresh := filepath.Join(y.dir, "fresh")
	// It has the keys of the first, so that the same data is cut in the same places:
	// else what changed may lie in large chunks here, and in small ones there.
	config, err := os.ReadFile(filepath.Join(y.repo(), "config"))
	if err == nil {
		err = os.CopyFS(filepath.Join(fresh, "keys"), os.DirFS(filepath.Join(y.repo(), "keys")))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(fresh, "config"), config, 0o600)
	}
	if err != nil {
		y.Fatal(err)
	}
	all := y.snapshots()
	y.mounted(func(mnt string) {
		named := map[string]int{}
		for _, s := range all {
			dir := filepath.Join(mnt, s.Source, s.Time.UTC().Format("2006-01-02T15-04-05Z"))
			if named[dir]++; named[dir] > 1 { // within one second
				dir += fmt.Sprintf("-%d", named[dir])
			}
			at := filepath.Join(dir, inside(s.Source))
			args, stdin := []string{"ingest", "tree", at}, ""
			switch {
			case strings.HasPrefix(s.Source, "disk/"):
				args = []string{"ingest", "disk", "--format", "raw", at}
			case strings.HasPrefix(s.Source, "stdin/"):
				args, stdin = []string{"ingest", "stdin"}, at
			}
			args = append(args, "-q", "-r", fresh, "--name", filepath.Base(s.Source))
			if end := y.run("fresh", nil, stdin, args...); end.status != 0 {
				y.Fatalf("vaultfs %q: status %d\n%s", args, end.status, end.errors)
			}
		}
	})
	y.must("verify", "--read-data", "-r", fresh)
	have, want := diskUse(y, y.repo()), diskUse(y, fresh)
	y.Logf("%d snapshots: %d bytes, a fresh repository has %d (%+.2f%%)", len(all), have, want, 100*(float64(have)/float64(want)-1))
	if float64(have) > 1.05*float64(want) {
		y.Errorf("the repository has %d bytes, a fresh one of the same snapshots %d", have, want)
	}
}

// diskUse is the sum of the sizes of the files below a directory, in bytes.
func diskUse(t testing.TB, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
