package disk

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/internal/testrepo"
)

// TestBlockDevice: a whole device is a raw disk, unless this host uses it.
func TestBlockDevice(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	disk := guest(4, 3<<20+512)
	write(t, "disk", disk)
	device := strings.TrimSpace(run(t, "losetup", "--find", "--show", "--read-only", "disk"))
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })

	held, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0) // as a mount does
	if err != nil {
		t.Fatal(err)
	}
	if err := mustFail(t, r, []string{device}, Options{}); !strings.Contains(err.Error(), "is in use by this host") {
		t.Error(err)
	}
	held.Close()
	_, it := ingestOne(t, r, device, Options{})
	same(t, stored(t, r, it), disk)
	if it.Format != "raw" || it.Path != device {
		t.Errorf("%+v", it)
	}
	create(t, "over.qcow2", "qcow2", "4M", "-b", device, "-F", "host_device")
	_, it = ingestOne(t, r, "over.qcow2", Options{AllowBacking: true})
	same(t, stored(t, r, it), converted(t, "qcow2", "over.qcow2"))
}
