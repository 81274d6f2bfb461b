package main

import "testing"

func TestFileSystem(t *testing.T) {
	mounts := []byte("proc /proc proc rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/sdb1 /srv xfs rw 0 0\n")
	for dir, want := range map[string]string{"/srv/x": "xfs on /dev/sdb1", "/srv": "xfs on /dev/sdb1", "/srvx": "ext4 on /dev/vda", "/home/a": "ext4 on /dev/vda"} {
		if got := fileSystem(mounts, dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func TestField(t *testing.T) {
	if got := field([]byte("processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n"), "model name", ":"); got != "Example CPU @ 2 GHz" {
		t.Errorf("%q", got)
	}
	if got := field(nil, "model name", ":"); got != "unknown" {
		t.Errorf("%q", got)
	}
}
