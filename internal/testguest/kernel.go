package testguest

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// partition names the image's filesystem to debugfs: make-guest.sh has it begin at 1 MiB.
const partition = "?offset=1048576"

// kernel is the image's kernel and initrd as files beside it, made at the first call. OVMF boots them as QEMU hands them
// over, for the image's own loader is one for the BIOS.
func kernel(t testing.TB) (vmlinuz, initrd string) {
	t.Helper()
	image := Image(t)
	base := strings.TrimSuffix(image, filepath.Ext(image))
	vmlinuz, initrd = base+".vmlinuz", base+".initrd"
	defer lockImages(t)()
	if _, err := os.Stat(initrd); err == nil {
		return vmlinuz, initrd
	}
	work, err := os.MkdirTemp(imageDir, "kernel-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	raw := filepath.Join(work, "raw")
	run(t, "qemu-img", "convert", "-O", "raw", image, raw)
	dump(t, raw, "vmlinuz-", vmlinuz)
	dump(t, raw, "initrd.img-", initrd) // the last: that it is there says that both are
	return vmlinuz, initrd
}

// dump copies the file of /boot whose name begins so out of a raw image.
func dump(t testing.TB, raw, prefix, to string) {
	t.Helper()
	for line := range strings.Lines(run(t, "debugfs", "-R", "ls -p /boot", raw+partition)) {
		fields := strings.Split(line, "/") // /inode/mode/uid/gid/name/size/
		if len(fields) < 6 || !strings.HasPrefix(fields[5], prefix) {
			continue
		}
		temp := raw + ".out"
		run(t, "debugfs", "-R", "dump "+path.Join("/boot", fields[5])+" "+temp, raw+partition)
		if err := os.Chmod(temp, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, to); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("the guest image has no /boot/%s…", prefix)
}
