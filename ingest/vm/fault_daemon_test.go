package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vaultfs/internal/testguest"
)

// ownDaemon is a libvirtd that no other test uses, so that it can be restarted. It runs in a mount namespace in which
// libvirt's folders are its own.
type ownDaemon struct {
	t      *testing.T
	uri    string
	dir    string
	guest  string    // the name of its guest
	keeper *exec.Cmd // of the namespace
}

// ownFolders makes the namespace, and keeps it until its standard input ends.
const ownFolders = `mount --make-rprivate / && cd "$1" &&
for d in run/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt etc/libvirt; do mount --bind "$d" "/$d" || exit; done
echo ready; read -r _`

func startOwnDaemon(t *testing.T) *ownDaemon {
	t.Helper()
	d := &ownDaemon{t: t, dir: testguest.Dir(t)}
	for _, sub := range []string{"run/libvirt", "var/lib/libvirt", "var/cache/libvirt", "var/log/libvirt", "etc/libvirt"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Without virtlogd, which would be another daemon.
	if err := os.WriteFile(filepath.Join(d.dir, "etc/libvirt/qemu.conf"), []byte("stdio_handler = \"file\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.uri = "qemu+unix:///system?socket=" + filepath.Join(d.dir, "run/libvirt/libvirt-sock")
	d.keeper = exec.Command("unshare", "--mount", "sh", "-c", ownFolders, "sh", d.dir)
	hold, err := d.keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hold.Close(); d.keeper.Wait() })
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		t.Fatal("no namespace for a libvirtd: ", err)
	}
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *ownDaemon) start() {
	d.t.Helper()
	shell(d.t, "nsenter", "--target", strconv.Itoa(d.keeper.Process.Pid), "--mount", "libvirtd", "--daemon", "--pid-file", d.pidFile())
	waitFor(d.t, "libvirtd", func() bool { return exec.Command("virsh", "-c", d.uri, "uri").Run() == nil })
}

func (d *ownDaemon) pidFile() string { return filepath.Join(d.dir, "libvirtd.pid") }

func (d *ownDaemon) stop() {
	text, err := os.ReadFile(d.pidFile())
	if err != nil {
		d.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	waitFor(d.t, "libvirtd to end", func() bool { return syscall.Kill(pid, 0) != nil })
}

func (d *ownDaemon) virsh(args ...string) string {
	d.t.Helper()
	return strings.TrimSpace(shell(d.t, "virsh", append([]string{"-q", "-c", d.uri}, args...)...))
}

// startOwnGuest starts a daemon with a guest, which has one disk and runs its firmware. Its name is not that of another
// daemon's guest: the host's control groups tell them apart by that.
func startOwnGuest(t *testing.T) (d *ownDaemon, image string) {
	t.Helper()
	d = startOwnDaemon(t)
	d.guest = "own-" + filepath.Base(d.dir)
	image = filepath.Join(d.dir, "vda.qcow2")
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", image, "64M")
	fill(t, image)
	xml := filepath.Join(d.dir, "guest.xml")
	if err := os.WriteFile(xml, []byte(`<domain type='qemu'><name>`+d.guest+`</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>
		<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='`+image+`'/><target dev='vda' bus='virtio'/></disk></devices></domain>`), 0o600); err != nil {
		t.Fatal(err)
	}
	d.virsh("define", xml)
	d.virsh("start", d.guest)
	t.Cleanup(func() { d.virsh("destroy", d.guest) })
	return d, image
}

// TestLibvirtdRestarted restarts the daemon at each step of a backup. Its guests and jobs go on.
func TestLibvirtdRestarted(t *testing.T) {
	t.Parallel()
	d, image := startOwnGuest(t)
	r, state := newRepo(t), testguest.Dir(t)
	for i, step := range []string{"scratch", "begun", "reading", "read", "ended", "committed"} {
		t.Run(step, func(t *testing.T) {
			for _, command := range []string{fmt.Sprintf("write -P %d 9M 64k", 40+i), "flush"} {
				d.virsh("qemu-monitor-command", d.guest, "--hmp", fmt.Sprintf("qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend %q", command))
			}
			result, err := Ingest(t.Context(), r, d.guest, Options{Connect: d.uri, StateDir: state, NoAudit: true, at: func(now string) {
				if now == step {
					d.stop()
					d.start()
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, warnings %q", result.Disks[0].How, result.Warnings)
			if full := strings.HasPrefix(result.Disks[0].How, "full"); full != (i == 0) || len(result.Warnings) > 0 {
				t.Errorf("read %q, warnings %q", result.Disks[0].How, result.Warnings)
			}
			shell(t, "qemu-img", "compare", "-U", "-f", "raw", "-F", "qcow2", restore(t, r, result.Snapshot, "vda"), image)
			if is := d.virsh("domstate", d.guest); is != "running" {
				t.Errorf("guest is %q", is)
			}
			if names := d.virsh("checkpoint-list", d.guest, "--name"); names != result.Checkpoint {
				t.Errorf("checkpoints %q, want %q", names, result.Checkpoint)
			}
			if out, err := exec.Command("virsh", "-c", d.uri, "backup-dumpxml", d.guest).CombinedOutput(); err == nil {
				t.Errorf("a job is left: %s", out)
			}
			wantNothingLeft(t, state)
			wantEmpty(t, filepath.Join(state, "scratch"))
		})
	}
}
