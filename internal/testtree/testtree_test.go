package testtree

import (
	"os/exec"
	"strings"
	"testing"
)

// cp -a copies everything; then the copies are made to differ.
func TestSameIsWhatCpMakes(t *testing.T) {
	dir := t.TempDir()
	Make(t, dir+"/a")
	if out, err := exec.Command("cp", "-a", "--sparse=auto", dir+"/a", dir+"/b").CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	if out := RsyncDiff(t, dir+"/a", dir+"/b"); out != "" {
		t.Errorf("rsync: %s", out)
	}
	a, b := Describe(t, dir+"/a"), Describe(t, dir+"/b")
	if len(a) < Files || len(a) != len(b) {
		t.Fatalf("%d and %d paths", len(a), len(b))
	}
	for path := range a {
		// cp leaves out what lies between the blocks of a fragmented file in its own way.
		if a[path] != b[path] && !strings.HasPrefix(path, "sparse/") && !strings.HasPrefix(path, "links/b/sparse") {
			t.Errorf("%q\n is %s\nnot %s", path, b[path], a[path])
		}
	}
	if out, err := exec.Command("setfattr", "-x", "user.empty", dir+"/b/attributes/file").CombinedOutput(); err != nil {
		t.Fatalf("setfattr: %v\n%s", err, out)
	}
	if out := RsyncDiff(t, dir+"/a", dir+"/b"); !strings.Contains(out, "attributes/file") {
		t.Errorf("rsync does not see that an attribute is gone: %q", out)
	}
	if Describe(t, dir+"/b")["attributes/file"] == a["attributes/file"] {
		t.Error("an attribute is gone and that is not seen")
	}
}
