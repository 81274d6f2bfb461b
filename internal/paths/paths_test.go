package paths

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInside(t *testing.T) {
	for _, c := range []struct {
		dir, path string
		want      bool
	}{
		{"/srv/vault", "/srv/vault", true},
		{"/srv/vault", "/srv/vault/packs/x", true},
		{"/srv/vault", "/srv/vault/..x", true},
		{"/srv/vault", "/srv/vault2", false},
		{"/srv/vault", "/srv", false},
		{"/srv/vault", "/mnt", false},
		{"/", "/mnt", true},
	} {
		if got := Inside(c.dir, c.path); got != c.want {
			t.Errorf("%s inside %s: %v", c.path, c.dir, got)
		}
	}
}

func TestRealFollowsLinks(t *testing.T) {
	dir, err := Real(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(".", link); err != nil {
		t.Fatal(err)
	}
	if got, err := Real(link); err != nil || got != dir {
		t.Errorf("%s, %v; want %s", got, err, dir)
	}
	if _, err := Real(filepath.Join(dir, "absent")); !os.IsNotExist(err) {
		t.Errorf("absent: %v", err)
	}
}
