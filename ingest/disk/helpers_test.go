package disk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vaultfs/repo"
)

// run runs a command that must succeed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// noise fills p with what no compressor shortens.
func noise(seed byte, p []byte) {
	rand.NewChaCha8([32]byte{seed}).Read(p)
}

// guest is the content of a disk of n bytes: noise, zeros, and text.
func guest(seed byte, n int) []byte {
	p := make([]byte, n)
	noise(seed, p[:n/4])
	copy(p[n/2:], bytes.Repeat([]byte("all work and no play "), n/8/21))
	noise(seed+1, p[max(0, n-3000):])
	return p
}

func write(t testing.TB, path string, p []byte) string {
	t.Helper()
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// converted is what qemu-img makes of an image.
func converted(t testing.TB, format, path string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "converted")
	run(t, "qemu-img", "convert", "-f", format, "-O", "raw", path, out)
	return read(t, out)
}

// stored reads an item back.
func stored(t testing.TB, r *repo.Repo, it repo.Item) []byte {
	t.Helper()
	d, err := r.OpenDisk(t.Context(), it)
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func same(t testing.TB, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d bytes come back, want %d", len(got), len(want))
	} else if !bytes.Equal(got, want) {
		t.Errorf("what comes back differs")
	}
}

// ingestOne backs up one image and returns its item.
func ingestOne(t testing.TB, r *repo.Repo, path string, o Options) (*repo.Snapshot, repo.Item) {
	t.Helper()
	made, err := Ingest(t.Context(), r, []string{path}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 1 || len(made[0].Items) != 1 {
		t.Fatalf("made %+v", made)
	}
	return made[0], made[0].Items[0]
}

// mustFail wants an error that says something, and nothing committed.
func mustFail(t testing.TB, r *repo.Repo, files []string, o Options) error {
	t.Helper()
	made, err := Ingest(t.Context(), r, files, o)
	if err == nil || len(made) > 0 {
		t.Fatalf("%q: made %d snapshots, %v", files, len(made), err)
	}
	all, listErr := r.Snapshots(t.Context())
	if listErr != nil || len(all) > 0 {
		t.Fatalf("%q: %d snapshots after a failure, %v", files, len(all), listErr)
	}
	return err
}

// mustFailLater wants an error, in a repository that has snapshots.
func mustFailLater(t testing.TB, r *repo.Repo, file string) error {
	t.Helper()
	made, err := Ingest(t.Context(), r, []string{file}, Options{})
	if err == nil || len(made) > 0 {
		t.Fatalf("%q: made %d snapshots, %v", file, len(made), err)
	}
	return err
}

// chdir is a directory that the test is in.
func chdir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	return dir
}

func create(t testing.TB, path, format, size string, options ...string) string {
	t.Helper()
	run(t, "qemu-img", append(append([]string{"create", "-q", "-f", format}, options...), path, size)...)
	return path
}

// qemuIO runs qemu-io commands on an image, which need not survive a power cut.
func qemuIO(t testing.TB, format, path string, commands ...string) {
	t.Helper()
	args := []string{"-t", "unsafe", "-f", format}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	run(t, "qemu-io", append(args, path)...)
}
