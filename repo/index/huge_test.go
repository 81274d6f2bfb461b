package index

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// An index of many entries. How many is taken from the environment; a hundred
// million take 6 GB in the directory for temporary files, or in
// VAULTFS_INDEX_DIR.
const (
	hugeEntries = "VAULTFS_INDEX_ENTRIES"
	hugeDir     = "VAULTFS_INDEX_DIR"
	hugeStep    = "VAULTFS_INDEX_STEP" // what a process of its own does

	hugeRunEntries  = 1 << 16 // as a session makes them
	hugePackEntries = 128
	hugeRunSessions = 66 // 100,000 in a hundred million entries
	hugeLookups     = 1_000_000

	// hugeMemory is what may be resident at most, in bytes.
	hugeMemory = 256 << 20
)

// hugeRun is a run of an index of many entries: what it lists follows from its
// number.
func hugeRun(n uint64) *format.Run {
	run := new(format.Run)
	rng := hugeRandom(n)
	for i := range uint64(hugeRunSessions) {
		secret := make([]byte, seal.SealedSecretSize)
		rng.Read(secret[:32])
		s := format.RunSession{SealedSecret: secret}
		binary.BigEndian.PutUint64(s.ID[:], n*hugeRunSessions+i+1)
		run.Sessions = append(run.Sessions, s)
	}
	run.Entries = make([]format.RunEntry, hugeRunEntries)
	for i := range run.Entries {
		if i%hugePackEntries == 0 {
			p := format.RunPack{Kind: format.DataPack, Size: 16 << 20, Session: uint32(i / hugePackEntries % hugeRunSessions)}
			rng.Read(p.Hash[:])
			run.Packs = append(run.Packs, p)
		}
		e := format.PackEntry{ID: hugeID(n, uint64(i)), Kind: format.Data, Offset: uint32(64 + i%hugePackEntries*1000), Sealed: 1000, Plain: 1200}
		run.Entries[i] = format.RunEntry{PackEntry: e, Pack: uint32(i / hugePackEntries), Ordinal: uint32(i % hugePackEntries)}
	}
	slices.SortFunc(run.Entries, format.RunEntry.Compare)
	return run
}

func hugeRandom(n uint64) *rand.ChaCha8 {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], n)
	return rand.NewChaCha8(seed)
}

// hugeID is a chunk of a run: numbers that are mixed, so that each is different.
func hugeID(run, i uint64) (id chunk.ID) {
	x := run<<16 | i
	for k := range 4 {
		x = (x ^ x>>31) * 0x9e3779b97f4a7c15
		x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
		binary.BigEndian.PutUint64(id[8*k:], x)
	}
	return id
}

func hugeHead(runs uint64) *format.Head {
	h := new(format.Head)
	for n := range runs {
		name := format.RunName{Run: format.RunID{1}}
		binary.BigEndian.PutUint64(name.Session[:], n)
		h.Runs = append(h.Runs, name)
	}
	return h
}

// TestHugeIndex builds, opens and reads an index in processes of their own,
// which tell what they took of memory.
func TestHugeIndex(t *testing.T) {
	entries := uint64(300_000)
	if s := os.Getenv(hugeEntries); s != "" {
		var err error
		if entries, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	runs := (entries + hugeRunEntries - 1) / hugeRunEntries
	if step := os.Getenv(hugeStep); step != "" {
		hugeSteps[step](t, os.Getenv(hugeDir), runs)
		fmt.Printf("\nresident at most: %d\n", peakMemory(t))
		return
	}
	dir := filepath.Join(t.TempDir(), "index")
	if d := os.Getenv(hugeDir); d != "" {
		dir = d
	}
	for _, step := range []string{"build", "open", "look up", "list", "view", "collect"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHugeIndex$", "-test.timeout=2h", "-test.v")
		cmd.Env = append(os.Environ(), hugeStep+"="+step, hugeDir+"="+dir, fmt.Sprintf("%s=%d", hugeEntries, entries))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", step, err, out)
		}
		peak := int64(0)
		for line := range bytes.Lines(out) {
			if s, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "resident at most: "); ok {
				peak, _ = strconv.ParseInt(s, 10, 64)
			} else if strings.Contains(string(line), "huge_test.go") {
				t.Log(strings.TrimSpace(string(line)))
			}
		}
		t.Logf("%s: resident at most %d MiB", step, peak>>20)
		if peak == 0 || peak > hugeMemory {
			t.Errorf("%s: %d bytes are resident, more than %d", step, peak, hugeMemory)
		}
	}
}

var hugeSteps = map[string]func(t *testing.T, dir string, runs uint64){
	"build":   hugeBuild,
	"open":    hugeOpen,
	"look up": hugeLookUp,
	"list":    hugeList,
	"view":    hugeView,
	"collect": hugeCollect,
}

// peakMemory is VmHWM of this process, in bytes.
func peakMemory(t *testing.T) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("the kernel does not say how much memory was resident")
	return 0
}

func openHuge(t *testing.T, dir string) *Index {
	t.Helper()
	x, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// syncHuge brings an index in step with a head; none of its runs is loaded twice.
func syncHuge(t *testing.T, x *Index, h *format.Head, loads int) {
	t.Helper()
	loaded := 0
	start := time.Now()
	cpu, making, makingCPU := cpuTime(), time.Duration(0), time.Duration(0)
	err := x.Sync(h, func(n format.RunName) (*format.Run, error) {
		loaded++
		begin, beginCPU := time.Now(), cpuTime()
		defer func() { making += time.Since(begin); makingCPU += cpuTime() - beginCPU }()
		run := hugeRun(binary.BigEndian.Uint64(n.Session[:]))
		if n.Run[0] == 2 { // rewritten
			run = run.Only(hugeKept)
		}
		return run, nil
	})
	if err != nil || loaded != loads {
		t.Fatalf("%d runs are loaded, want %d: %v", loaded, loads, err)
	}
	t.Logf("synchronised in %v (%v of CPU), and %v to generate %d runs: %d entries in %d tables",
		(time.Since(start) - making).Round(time.Millisecond), (cpuTime() - cpu - makingCPU).Round(time.Millisecond), making.Round(time.Millisecond), loaded, x.Len(), len(x.tables))
}

// hugeKept is three of four packs.
func hugeKept(p format.RunPack) bool { return p.Hash[0]&3 != 0 }

func hugeBuild(t *testing.T, dir string, runs uint64) {
	syncHuge(t, openHuge(t, dir), hugeHead(runs), int(runs))
}

// cpuTime is what the process has computed until now, in user space and in the
// kernel.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func hugeOpen(t *testing.T, dir string, runs uint64) {
	start := time.Now()
	x := openHuge(t, dir)
	t.Logf("opened in %v", time.Since(start).Round(time.Microsecond))
	syncHuge(t, x, hugeHead(runs), 0)
	if n := x.Len(); n != int64(runs*hugeRunEntries) {
		t.Errorf("%d entries, want %d", n, runs*hugeRunEntries)
	}
}

func hugeLookUp(t *testing.T, dir string, runs uint64) {
	x := openHuge(t, dir)
	syncHuge(t, x, hugeHead(runs), 0)
	lookups := min(hugeLookups, int(runs*hugeRunEntries)/4)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, there := range []bool{true, false} {
		start, cpu := time.Now(), cpuTime()
		for range lookups {
			run, i := rng.Uint64N(runs), rng.Uint64N(hugeRunEntries)
			if !there {
				run += runs
			}
			found := x.Lookup(hugeID(run, i))
			if !there {
				if len(found) > 0 {
					t.Fatal("a chunk is found that is not there")
				}
				continue
			}
			var owner format.SnapshotID
			binary.BigEndian.PutUint64(owner[:], run*hugeRunSessions+i/hugePackEntries%hugeRunSessions+1)
			if len(found) != 1 || found[0].Ordinal != uint32(i%hugePackEntries) || found[0].Session != owner ||
				len(found[0].SealedSecret) != seal.SealedSecretSize {
				t.Fatalf("chunk %d of run %d is at %+v", i, run, found)
			}
		}
		each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(lookups) }
		t.Logf("%d random lookups of chunks, there: %v, %.2f µs each, %.2f µs of CPU", lookups, there, each(time.Since(start)), each(cpuTime()-cpu))
	}
	hugeHeap(t)
}

// hugeHeap tells what of the memory the index needs.
func hugeHeap(t *testing.T) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d MiB of heap in use", m.HeapInuse>>20)
}

func hugeList(t *testing.T, dir string, runs uint64) {
	x := openHuge(t, dir)
	syncHuge(t, x, hugeHead(runs), 0)
	start := time.Now()
	packs, err := x.Packs()
	if err != nil || len(packs.List) != int(runs*hugeRunEntries/hugePackEntries) {
		t.Fatal(len(packs.List), err)
	}
	t.Logf("%d packs are listed in %v", len(packs.List), time.Since(start).Round(time.Millisecond))
}

func hugeView(t *testing.T, dir string, runs uint64) {
	x := openHuge(t, dir)
	syncHuge(t, x, hugeHead(runs), 0)
	start := time.Now()
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	t.Logf("view made in %v", time.Since(start).Round(time.Millisecond))
	pass := func(what string, read func(count func(Entry) error) error) {
		t.Helper()
		start, cpu, n, sum := time.Now(), cpuTime(), int64(0), int64(0)
		err := read(func(e Entry) error { n++; sum += int64(e.Plain); return nil })
		if err != nil || sum != 1200*n {
			t.Fatal(sum, err)
		}
		took, cpu := time.Since(start), cpuTime()-cpu
		t.Logf("%s: %d entries in %v, %d ns each, %d ns of CPU", what, n, took.Round(time.Millisecond), took.Nanoseconds()/n, cpu.Nanoseconds()/n)
	}
	pass("each", v.Each)
	pass("chunks", func(count func(Entry) error) error {
		return v.Chunks(func(places []Entry) error { return count(places[0]) })
	})
	rng := rand.New(rand.NewPCG(1, 2))
	ids := make([]chunk.ID, min(hugeLookups, int(runs*hugeRunEntries)/10))
	for i := range ids {
		ids[i] = hugeID(rng.Uint64N(runs), rng.Uint64N(hugeRunEntries))
	}
	slices.SortFunc(ids, compareID)
	ids = slices.Compact(ids)
	marks := v.NewBitmap()
	pass("find", func(count func(Entry) error) error {
		return v.Find(ids, func(_ int, e Entry) error { marks.Set(e.Number); return count(e) })
	})
	if n := marks.Count(); n != int64(len(ids)) {
		t.Errorf("%d entries are found, want %d", n, len(ids))
	}
}

// hugeCollect replaces every tenth run by one of three of its four packs.
func hugeCollect(t *testing.T, dir string, runs uint64) {
	x := openHuge(t, dir)
	h := hugeHead(runs)
	syncHuge(t, x, h, 0)
	before := x.Len()
	rewritten := 0
	for n := 0; n < len(h.Runs); n += 10 {
		h.Runs[n].Run = format.RunID{2}
		rewritten++
	}
	syncHuge(t, x, h, rewritten)
	if n := x.Len(); n >= before || n < before-int64(rewritten)*hugeRunEntries/2 {
		t.Errorf("%d entries of %d are left", n, before)
	}
}
