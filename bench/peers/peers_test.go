package peers

import (
	"os"
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	for said, want := range map[string]string{
		"restic 0.14.0 compiled with go1.19.8 on linux/amd64": "0.14.0",
		"borg 1.2.4\n":                           "1.2.4",
		"0.23.0 build: 1a2b3c from: kopia/kopia": "0.23.0",
		"borg 2.0.0b5":                           "2.0.0b5",
	} {
		if got := string(number.Find([]byte(said))); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

func TestForget(t *testing.T) {
	for _, name := range []string{"RESTIC_COMPRESSION", "BORG_BASE_DIR", "KOPIA_PASSWORD", "VAULTFS_REPO"} {
		t.Setenv(name, "x")
	}
	t.Setenv("MY_BORG_X", "x")
	Forget()
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "RESTIC_") || strings.HasPrefix(name, "BORG_") || strings.HasPrefix(name, "KOPIA_") || strings.HasPrefix(name, "VAULTFS_") {
			t.Errorf("%s is still there", setting)
		}
	}
	if os.Getenv("MY_BORG_X") == "" {
		t.Error("what is no setting of a program is gone")
	}
}

func TestSnapshotID(t *testing.T) {
	if id, err := snapshotID([]byte(`{"id":"3f2a","source":{"path":"/x"},"rootEntry":{"obj":"k1"}}`)); err != nil || id != "3f2a" {
		t.Errorf("%q, %v", id, err)
	}
	for _, bad := range []string{"", "{}", "an error"} {
		if id, err := snapshotID([]byte(bad)); err == nil {
			t.Errorf("%q: %q and no error", bad, id)
		}
	}
}

func TestWhereThingsAre(t *testing.T) {
	disk := Source{Kind: Disk, Path: "/data/a.qcow2", Label: "guest"}
	for _, c := range []struct {
		peer Peer
		want string
	}{
		{Vaultfs("vaultfs"), "/m/disk/guest/latest/disks/a.qcow2"},
		{Restic("restic"), "/m/snapshots/latest/data/a.qcow2"},
		{Borg("borg"), "/m/data/a.qcow2"},
	} {
		p := c.peer.At("/repos/x")
		if _, path, err := p.Mount(disk, "/m"); err != nil || path != c.want {
			t.Errorf("%s: %q, %v", p.Name(), path, err)
		}
		if p.Repo() != "/repos/x/repo" {
			t.Errorf("%s: %q", p.Name(), p.Repo())
		}
	}
}
