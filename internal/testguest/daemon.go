package testguest

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"testing"
	"time"
)

// URI is the libvirt daemon that the guests run under.
const URI = "qemu:///system"

// Daemon makes sure that libvirtd answers, and starts it where no service manager has.
func Daemon(t testing.TB) {
	t.Helper()
	if answers() {
		return
	}
	ownKVM()
	run(t, "virtlogd", "-d")
	run(t, "libvirtd", "-d")
	for end := time.Now().Add(20 * time.Second); !answers(); {
		if time.Now().After(end) {
			t.Fatal("libvirtd does not answer on ", URI)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ownKVM gives /dev/kvm to its group as udev does, where no udev runs. Without that libvirt finds KVM there when it asks
// QEMU, and not there when it looks itself; so it asks QEMU anew for each domain that is defined, a minute each time.
func ownKVM() {
	st, err := os.Stat("/dev/kvm")
	group, err2 := user.LookupGroup("kvm")
	if err != nil || err2 != nil || st.Mode().Perm() != 0o600 {
		return
	}
	if gid, err := strconv.Atoi(group.Gid); err == nil && os.Chown("/dev/kvm", 0, gid) == nil {
		os.Chmod("/dev/kvm", 0o660)
	}
}

func answers() bool {
	return exec.Command("virsh", "-c", URI, "uri").Run() == nil
}

// Virsh runs a virsh command and gives its output; a failure ends the test.
func Virsh(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, "virsh", append([]string{"-q", "-c", URI}, args...)...)
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
