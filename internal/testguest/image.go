package testguest

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

//go:embed make-guest.sh
var script []byte

// imageDir holds the guest image between runs. QEMU's user must be able to pass, so it is not below a home directory.
const imageDir = "/var/cache/vaultfs-test"

// Image is the path of a bootable qcow2 image of 2 GiB, made at the first call on this machine and whenever the script
// has changed. It is never written to: use it below an overlay, or copy it.
func Image(t testing.TB) string {
	t.Helper()
	defer lockImages(t)()
	sum := sha256.Sum256(script)
	path := filepath.Join(imageDir, fmt.Sprintf("guest-%x.qcow2", sum[:6]))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	t.Log("making the guest image, about half a minute")
	cmd := exec.Command("bash", scriptFile(t), path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make-guest.sh: %v\n%s", err, out)
	}
	return path
}

// lockImages keeps imageDir to one test package at a time, as they run side by side: the first makes what is missing,
// the others wait. The function it returns unlocks.
func lockImages(t testing.TB) (unlock func()) {
	t.Helper()
	if err := os.MkdirAll(imageDir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(imageDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { lock.Close() }
}

// scriptFile is the embedded script as a file: a test of another package runs in that package's folder.
func scriptFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "make-guest.sh")
	if err := os.WriteFile(path, script, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
