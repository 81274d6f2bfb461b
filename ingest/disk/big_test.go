package disk

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// childEnv makes the test binary back up the image of that name, and say how
// much memory that took.
const childEnv = "VAULTFS_TEST_INGEST"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		os.Exit(ingestInChild(path))
	}
	os.Exit(m.Run())
}

func ingestInChild(path string) int {
	ctx := context.Background()
	st, err := store.Create(path + ".repo")
	if err == nil {
		err = repo.Init(ctx, st, repo.InitOptions{NoEncryption: true})
	}
	var r *repo.Repo
	if err == nil {
		r, err = repo.Open(ctx, st, repo.OpenOptions{})
	}
	var made []*repo.Snapshot
	if err == nil {
		made, err = Ingest(ctx, r, []string{path}, Options{Verify: true})
	}
	status, readErr := os.ReadFile("/proc/self/status")
	if err != nil || readErr != nil {
		fmt.Println(err, readErr)
		return 1
	}
	fmt.Printf("%d bytes read of %d\n%s", made[0].Info.Summary.BytesRead, made[0].Size(), status)
	return 0
}

var peakMemory = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// TestHugeSparseDisks: 4 TiB with some data here and there take seconds and
// bounded memory.
func TestHugeSparseDisks(t *testing.T) {
	dir := chdir(t)
	create(t, "huge.qcow2", "qcow2", "4T")
	create(t, "huge.raw", "raw", "4T")
	var writes []string
	for i := range 100 {
		writes = append(writes, fmt.Sprintf("write -P %d %dG 1M", i+1, i*41))
	}
	qemuIO(t, "qcow2", "huge.qcow2", writes...)
	qemuIO(t, "raw", "huge.raw", writes...)
	most := 400 << 10 // KiB
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		most *= 4 // what the detector keeps for itself
	}
	for _, file := range []string{"huge.qcow2", "huge.raw"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+filepath.Join(dir, file))
		start := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(start)
		if err != nil {
			t.Fatalf("%s: %v: %s", file, err, out)
		}
		said := string(out)
		if !strings.HasPrefix(said, "104857600 bytes read of 4398046511104\n") && file == "huge.qcow2" {
			t.Errorf("%s: %.50s", file, said)
		}
		m := peakMemory.FindStringSubmatch(said)
		if m == nil {
			t.Fatalf("%s", said)
		}
		peak, _ := strconv.Atoi(m[1])
		t.Logf("%s: %v, peak %d MB", file, took, peak/1024)
		if took > time.Minute || peak > most {
			t.Errorf("%s: %v, peak %d MB", file, took, peak/1024)
		}
	}
}
