package acl

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func nobody(string, string) (uint32, bool) { return 0, false }

func TestParse(t *testing.T) {
	want := List{{UserObj, 7, 0}, {OneUser, 5, 1000}, {OneUser, 4, 4294967294}, {GroupObj, 5, 0}, {OneGroup, 0, 33}, {Mask, 7, 0}, {Other, 0, 0}}
	for _, text := range []string{
		"user::rwx,user:1000:r-x,user:4294967294:r--,group::r-x,group:33:---,mask::rwx,other::---",
		"user::rwx\nuser:1000:r-x\nuser:4294967294:r--\ngroup::r-x\ngroup:33:---\nmask::rwx\nother::---\n",
		"o::---,m::rwx,g:33:---,g::r-x,u:4294967294:r--,u:1000:r-x,u::rwx",
		"user::rwx,user:joe:r-x:1000,user:root:r--:4294967294,group::r-x,group:www:---:33,mask:rwx,other:---",
		"default:user::rwx\ndefault:user:1000:r-x #effective:r-x\ndefault:user:4294967294:r--,default:group::r-x\n\ndefault:group:known:---\ndefault:mask::rwx\ndefault:other::---\n\x00",
	} {
		got, unknown, err := Parse(text, func(kind, name string) (uint32, bool) { return 33, kind == Group && name == "known" })
		if err != nil || len(unknown) > 0 || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, %v", text, got, unknown, err)
		}
	}
	got, unknown, err := Parse("u::rw-,u:joe:rwx,g::r--,g:crew:rwx,m::rwx,o::r--", nobody)
	if err != nil || !slices.Equal(unknown, []string{`user "joe"`, `group "crew"`}) || len(got) != 4 {
		t.Errorf("%v, %v, %v", got, unknown, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "user::rwx", "u::rwx,g::rwx", "u::rwx,g::rwx,o::rwx,u:1:rwx", "u::rwx,u::rwx,g::rwx,o::rwx", "u::rwxq,g::rwx,o::rwx", "u::rrr,g::rwx,o::rwx",
		"u::,g::rwx,o::rwx", "x::rwx,u::rwx,g::rwx,o::rwx", "u::rwx,g::rwx,o:1:rwx", "u::rwx:::,g::rwx,o::rwx", "u,g,o",
		"u::rwx,g::rwx,o::rwx,m::rwx" + strings.Repeat(",u:5:rwx", 2), "u::rwx,g::rwx,o::rwx,m::rwx" + strings.Repeat(",u:5:rwx", MaxEntries),
	} {
		if got, _, err := Parse(text, nobody); err == nil {
			t.Errorf("%.60q: %v", text, got)
		}
	}
}

// What the kernel and setfacl make of a list is what is made here.
func TestAsTheKernel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	const text = "user::rw-,user:1:r--,user:70000:rwx,group::r--,group:5:-w-,mask::rwx,other::---"
	if out, err := exec.Command("setfacl", "--set", text, file).CombinedOutput(); err != nil {
		t.Fatalf("setfacl: %v: %s (is %s on a file system with ACLs?)", err, out, file)
	}
	value := make([]byte, 1024)
	n, err := unix.Getxattr(file, "system.posix_acl_access", value)
	if err != nil {
		t.Fatal(err)
	}
	l, unknown, err := Parse(text, nobody)
	if err != nil || len(unknown) > 0 || !bytes.Equal(l.Xattr(), value[:n]) {
		t.Errorf("%v, %v\n%x\n%x", unknown, err, l.Xattr(), value[:n])
	}
	back, err := FromXattr(value[:n])
	if err != nil || back.Text() != text {
		t.Errorf("%q, %v", back.Text(), err)
	}
	if err := unix.Setxattr(file, "system.posix_acl_access", l.Xattr(), 0); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(file); err != nil || uint32(info.Mode().Perm()) != l.Mode() {
		t.Errorf("mode %o, %v, %v", l.Mode(), info.Mode(), err)
	}
	if l.Minimal() {
		t.Error("it is not minimal")
	}
	if l, _, _ := Parse("u::rw-,g::r--,o::---", nobody); !l.Minimal() || l.Mode() != 0o640 {
		t.Error("it is minimal")
	}
}

func TestFromXattrRefuses(t *testing.T) {
	good := List{{UserObj, 7, 0}, {GroupObj, 5, 0}, {Other, 0, 0}}.Xattr()
	for _, b := range [][]byte{nil, good[:3], good[:len(good)-1], good[:len(good)-8], append([]byte{3}, good[1:]...), append(slices.Clone(good), 0x40, 0, 7, 0, 0, 0, 0, 0)} {
		if l, err := FromXattr(b); err == nil {
			t.Errorf("%x: %v", b, l)
		}
	}
}

func FuzzXattr(f *testing.F) {
	f.Add(List{{UserObj, 7, 0}, {OneUser, 5, 1000}, {GroupObj, 5, 0}, {Mask, 7, 0}, {Other, 0, 0}}.Xattr())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := FromXattr(b)
		if err != nil {
			return
		}
		again, unknown, err := Parse(l.Text(), nobody)
		if err != nil || len(unknown) > 0 || !slices.Equal(again, l) {
			t.Errorf("%v\n%v, %v", l, again, err)
		}
	})
}
