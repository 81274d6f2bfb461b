package fusefs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vaultfs/repo"
)

// accessTree is a tree whose files may be read by some only.
func accessTree(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "source")
	for _, cmd := range []string{
		"mkdir $D && chmod 755 $D && cd $D && mkdir open closed && chmod 700 closed",
		"cd $D && for f in mine theirs group all closed/all acl denied; do echo $f > $f; chmod 600 $f; done",
		"cd $D && chmod 644 all closed/all && chown 1001 theirs && chgrp 1002 group && chmod 640 group",
		"cd $D && setfacl -m u:1001:r acl && chmod 664 denied && chgrp 1002 denied && setfacl -m u:1001:---,g::---,m::rw denied",
		"cd $D && cp /bin/true tool && chmod 4755 tool && setcap cap_net_raw+ep tool",
	} {
		c := exec.Command("sh", "-ec", cmd)
		c.Env = append(os.Environ(), "D="+dir)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	return dir
}

// TestOthersInTrees has users read what they may and may not read in the source,
// and gets the same answers.
func TestOthersInTrees(t *testing.T) {
	t.Parallel()
	source := accessTree(t)
	r := &fakeRepository{}
	r.commitTree("tree/access", scanFake(t, source))
	dir, _ := mount(t, r, Options{AllowOther: true})
	tree := filepath.Join(dir, "tree/access", stamp(noon))
	for _, d := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(source)), filepath.Dir(source)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range [][]string{
		{"--reuid=1001", "--regid=1001", "--clear-groups"},
		{"--reuid=1003", "--regid=1002", "--clear-groups"},
		{"--reuid=65534", "--regid=65534", "--clear-groups"},
	} {
		const script = `cd "$1" || exit; for f in mine theirs group all closed/all acl denied; do cat $f 2>/dev/null || echo no $f; done; ls closed 2>/dev/null || echo no list; test -r acl; echo $?; ./tool && echo runs`
		answers := func(of string) string {
			return run(t, "setpriv", append(user, "sh", "-c", script, "sh", of)...)
		}
		if want, got := answers(source), answers(tree); got != want || !strings.Contains(got, "no mine") || !strings.Contains(got, "\nall\n") {
			t.Errorf("%q reads\n%s\nand in the source\n%s", user, got, want)
		}
	}
	for _, show := range []string{"getfacl -n *", "getcap *", "getfattr -d -m- *"} {
		in := func(of string) string { return run(t, "sh", "-c", "cd '"+of+"' && "+show) }
		if want, got := in(source), in(tree); got != want {
			t.Errorf("%s shows\n%s\nand in the source\n%s", show, got, want)
		}
	}
}

// TestAccessWithoutOthers is about a user who mounts his repository: what belongs to
// others in it is his to read. Nobody else, root included, sees anything.
func TestAccessWithoutOthers(t *testing.T) {
	t.Parallel()
	r := &fakeRepository{}
	r.commitTree("tree/access", scanFake(t, accessTree(t)))
	dir, _ := mount(t, r, Options{})
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "tree/access", stamp(noon))
	if out, err := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", filepath.Join(tree, "all")).CombinedOutput(); err == nil {
		t.Errorf("another user reads %q", out)
	}
	// Root without the right to pass over permissions is like the user who mounted.
	drop := []string{"--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"}
	if out := run(t, "setpriv", append(drop, "cat", filepath.Join(tree, "theirs"), filepath.Join(tree, "closed/all"))...); out != "theirs\nclosed/all\n" {
		t.Errorf("who mounted reads %q", out)
	}
	if err := os.WriteFile(filepath.Join(tree, "mine"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing: %v", err)
	}
}

// TestDamagedDirectory has a directory, a file and an attribute that cannot be
// read. What is beside them can.
func TestDamagedDirectory(t *testing.T) {
	t.Parallel()
	tree := scanFake(t, accessTree(t))
	entry := func(name string) *repo.Entry {
		e, err := tree.Lookup(t.Context(), tree.root, name)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	delete(tree.dirs, entry("closed").Content.ID)
	delete(tree.files, entry("theirs").Content.ID)
	r := &fakeRepository{}
	r.commitTree("tree/access", tree)
	dir, reported := mount(t, r, Options{})
	in := filepath.Join(dir, "tree/access", stamp(noon))
	if _, err := os.ReadDir(filepath.Join(in, "closed")); !errors.Is(err, syscall.EIO) {
		t.Errorf("listing: %v", err)
	}
	if _, err := os.Stat(filepath.Join(in, "closed/all")); !errors.Is(err, syscall.EIO) {
		t.Errorf("looking up: %v", err)
	}
	if _, err := os.ReadFile(filepath.Join(in, "theirs")); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(in, "all")); err != nil || string(b) != "all\n" {
		t.Errorf("%q, %v", b, err)
	}
	if entries, err := os.ReadDir(in); err != nil || len(entries) != 9 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	const at = "tree/access/2026-11-21T12-00-00Z/"
	for _, want := range []string{"listing " + at + "closed: pack 3f2a", "looking up " + at + "closed/all: pack 3f2a", "opening " + at + "theirs: pack 3f2a"} {
		if !strings.Contains(reported.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, reported)
		}
	}
}
