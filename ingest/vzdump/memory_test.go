package vzdump

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/vma"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// childRepo is set in a process that is to ingest its standard input and to
// tell how much memory that took.
const childRepo = "VAULTFS_TEST_VZDUMP_REPO"

// maxMemory is what no ingest may take, in bytes resident.
const maxMemory = 400 << 20

// child ingests standard input into a repository, as the source vzdump/child.
func child(dir string) int {
	err := func() error {
		st, err := store.OpenDir(dir)
		if err != nil {
			return err
		}
		defer st.Close()
		ctx := context.Background()
		r, err := repo.Open(ctx, st, repo.OpenOptions{Password: []byte(password)})
		if err != nil {
			return err
		}
		defer r.Close()
		o := Options{Name: "child", Stdin: os.Stdin, StateDir: dir + ".state", Verify: true}
		if _, err := Ingest(ctx, r, []string{Stream}, o); err != nil {
			return err
		}
		status, err := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(status)) {
			if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				fmt.Println(strings.TrimSuffix(strings.TrimSpace(kib), " kB"))
			}
		}
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// withoutRace builds these tests without the race detector, which takes many
// times the memory of the program.
func withoutRace(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plain")
	run(t, "go", "test", "-c", "-tags", "libvirt_dlopen", "-o", path, ".")
	return path
}

// ingestInChild ingests an archive in a process of its own and returns the most
// memory that this took, in bytes resident.
func ingestInChild(t *testing.T, dir string, m *made) int64 {
	t.Helper()
	c := exec.Command(withoutRace(t))
	c.Env = append(os.Environ(), childRepo+"="+dir)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		err := m.writeTo(in)
		if closed := in.Close(); err == nil {
			err = closed
		}
		written <- err
	}()
	began := time.Now()
	out, err := c.Output()
	if w := <-written; err == nil {
		err = w
	}
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB resident at most, %.1f s", kib>>10, time.Since(began).Seconds())
	return kib << 10
}

// sparse is a drive of which every so many clusters hold data.
func sparse(name string, size, every int64) madeDrive {
	buf := make([]byte, vma.ClusterSize)
	return madeDrive{name, size, func(c int64) []byte {
		if c%every != 0 {
			return nil
		}
		return noise(uint64(c), buf)
	}}
}

// TestMemory takes in archives whose clusters come in random order, of 50 GiB
// altogether, and more data than fits into memory. The process that does it
// stays within its bound, and what is stored is what was in the archive.
func TestMemory(t *testing.T) {
	dir := makeRepo(t)
	m := &made{configs: guestConfig("f3b1a1b4-66a1-4d2f-8f8a-0f1e2d3c4b5a"), drives: []madeDrive{
		sparse("drive-scsi0", 49<<30, 320), sparse("drive-scsi1", 1<<30, 8), sparse("drive-efidisk0", 528<<10, 1)}}
	m.shuffle(1)
	if got := ingestInChild(t, dir, m); got > maxMemory {
		t.Errorf("%d MiB were resident, more than %d", got>>20, maxMemory>>20)
	}
	r := openRepo(t, dir)
	s, err := r.Resolve(t.Context(), "vzdump/child")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.drives {
		it := item(t, s, d.name)
		disk, err := r.OpenDisk(t.Context(), it)
		if err != nil {
			t.Fatal(err)
		}
		if disk.Size() != d.size {
			t.Errorf("%s has %d bytes, want %d", d.name, disk.Size(), d.size)
		}
		data := int64(0)
		p := make([]byte, vma.ClusterSize)
		for c := range d.clusters() {
			want := d.at(c)
			if want == nil {
				continue
			}
			n := min(vma.ClusterSize, d.size-c*vma.ClusterSize)
			data += n
			if c%7 != 0 {
				continue // not one of the sample
			}
			if _, err := disk.ReadAt(p[:n], c*vma.ClusterSize); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if string(p[:n]) != string(want[:n]) {
				t.Fatalf("cluster %d of %s differs", c, d.name)
			}
		}
		if disk.Allocated() != data {
			t.Errorf("%s holds %d bytes of data, want %d", d.name, disk.Allocated(), data)
		}
	}
}
