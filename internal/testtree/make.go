package testtree

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Files is how many entries the largest directory of the tree has.
const Files = 3000

// Make makes the tree in dir, which is made too; its parent must exist.
func Make(t testing.TB, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the tree needs root to be made: run the tests as root")
	}
	m := maker{t, dir}
	m.dir("")
	m.contents()
	m.names()
	m.sparse()
	m.specials()
	m.symlinks()
	m.hardLinks()
	m.modes()
	m.attributes()
	m.deep(70)
	m.dir("many")
	for i := range Files {
		m.file(fmt.Sprintf("many/%04d", i), []byte(fmt.Sprint(i)))
	}
	m.times()
}

type maker struct {
	t    testing.TB
	root string
}

func (m maker) path(name string) string { return m.root + "/" + name }

func (m maker) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m maker) run(name string, args ...string) {
	m.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (m maker) dir(name string) {
	m.t.Helper()
	m.ok(unix.Mkdir(m.path(name), 0o700))
	m.ok(unix.Chmod(m.path(name), 0o755))
}

func (m maker) file(name string, b []byte) {
	m.t.Helper()
	m.ok(os.WriteFile(m.path(name), b, 0o644))
	m.ok(os.Chmod(m.path(name), 0o644))
}

// Noise is bytes that no compressor shortens, the same for the same seed.
func Noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func (m maker) contents() {
	m.dir("contents")
	m.file("contents/empty", nil)
	m.file("contents/byte", []byte{0})
	m.file("contents/block", Noise(1, 4096))
	m.file("contents/chunk", Noise(2, 256<<10))
	m.file("contents/large", Noise(3, 9<<20+1))
	m.file("contents/same as large", Noise(3, 9<<20+1))
	m.file("contents/zeros but no hole", make([]byte, 1<<20))
	m.dir("empty directory")
}

func (m maker) names() {
	m.dir("names")
	for i, name := range []string{
		"-", "-rf", "--delete", " ", "  two", "trailing ", "new\nline", "tab\t", "\x1b[31mred", "\x01", "quote\"'`", `back\slash`,
		"$(reboot)", "*?[x]", "~", "#", ".hidden", "...", "..x", "latin1-\xe9", "\xff\xfe", "\xc0\xaf", "ünïcödé-日本語", "colon:name", "a:b@c",
		strings.Repeat("n", 255), strings.Repeat("\xff", 255), ".vaultfs", "CON", "semi;colon|pipe&",
	} {
		m.file("names/"+name, fmt.Appendf(nil, "%d", i))
	}
	m.dir("names/dir\nwith\xffodd name ")
	m.file("names/dir\nwith\xffodd name /file", []byte("x"))
}

// sparseFile makes a file of that size with a block of noise at each offset.
func (m maker) sparseFile(name string, size int64, at ...int64) {
	m.t.Helper()
	f, err := os.Create(m.path(name))
	m.ok(err)
	defer f.Close()
	m.ok(f.Truncate(size))
	for i, off := range at {
		_, err := f.WriteAt(Noise(byte(i+10), 4096), off)
		m.ok(err)
	}
}

func (m maker) sparse() {
	m.dir("sparse")
	m.sparseFile("sparse/nothing but a hole", 32<<20)
	m.sparseFile("sparse/hole at the end", 20<<20, 0)
	m.sparseFile("sparse/hole at the beginning", 20<<20+4096, 20<<20)
	m.sparseFile("sparse/odd size", 1<<20+777, 64<<10)
	var every []int64
	for i := range int64(200) {
		every = append(every, i*8192)
	}
	m.sparseFile("sparse/every other block", 200*8192, every...)
}

func (m maker) specials() {
	m.dir("specials")
	m.ok(unix.Mknod(m.path("specials/fifo"), unix.S_IFIFO|0o640, 0))
	m.ok(unix.Mknod(m.path("specials/socket"), unix.S_IFSOCK|0o750, 0))
	m.ok(unix.Mknod(m.path("specials/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	m.ok(unix.Mknod(m.path("specials/block"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
	m.ok(unix.Lchown(m.path("specials/block"), 0, 6))
	m.ok(unix.Chmod(m.path("specials/fifo"), 0o622))
	m.ok(unix.Chmod(m.path("specials/null"), 0o666))
}

func (m maker) symlinks() {
	m.dir("symlinks")
	for name, target := range map[string]string{
		"dangling": "no such file", "absolute": "/etc/passwd", "up": "../../../../../../etc", "self": "self", "dir": "../many",
		"odd": "\xff\n \x1b", "long": strings.Repeat("l/", 2047) + "l",
	} {
		m.ok(os.Symlink(target, m.path("symlinks/"+name)))
		m.ok(unix.Lchown(m.path("symlinks/"+name), 1234, 5678))
	}
	m.ok(unix.Lsetxattr(m.path("symlinks/dangling"), "trusted.of-a-link", []byte("x"), 0))
}

func (m maker) hardLinks() {
	m.dir("links")
	m.dir("links/a")
	m.dir("links/b")
	m.file("links/z first", []byte("one file"))
	for _, name := range []string{"links/a/second", "links/b/third", "links/a second", "links/~last"} {
		m.ok(os.Link(m.path("links/z first"), m.path(name)))
	}
	m.file("links/large", Noise(4, 3<<20))
	m.ok(os.Link(m.path("links/large"), m.path("links/b/large")))
	m.ok(os.Link(m.path("specials/fifo"), m.path("links/b/fifo")))
	m.ok(os.Link(m.path("specials/null"), m.path("links/a/null")))
	m.ok(os.Link(m.path("symlinks/dangling"), m.path("links/b/symlink")))
	m.ok(os.Link(m.path("sparse/hole at the end"), m.path("links/b/sparse")))
}

func (m maker) modes() {
	m.dir("modes")
	for _, mode := range []uint32{0, 0o400, 0o111, 0o644, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777} {
		name := fmt.Sprintf("modes/%04o", mode)
		m.file(name, []byte(name))
		m.ok(unix.Lchown(m.path(name), 1000, 50))
		m.ok(unix.Chmod(m.path(name), mode))
		m.dir(name + " dir")
		m.file(name+" dir/file", nil)
		m.ok(unix.Lchown(m.path(name+" dir"), 65534, 4_000_000_000))
		m.ok(unix.Chmod(m.path(name+" dir"), mode))
	}
	m.file("modes/large owner", nil)
	m.ok(unix.Lchown(m.path("modes/large owner"), 4_294_967_294, 4_294_967_294))
}

func (m maker) attributes() {
	m.dir("attributes")
	m.file("attributes/file", []byte("x"))
	for name, value := range map[string][]byte{
		"user.empty": nil, "user.binary": {0, 255, '\n'}, "user.long": Noise(5, 1500), "trusted.x": []byte("y"), "user.\xffname": []byte("odd"),
	} {
		m.ok(unix.Lsetxattr(m.path("attributes/file"), name, value, 0))
	}
	m.ok(unix.Lsetxattr(m.path("attributes"), "user.of-a-directory", []byte("x"), 0))
	m.file("attributes/capable", []byte("x"))
	m.run("setcap", "cap_net_raw,cap_net_bind_service+ep", m.path("attributes/capable"))
	m.file("attributes/acl", []byte("x"))
	m.run("setfacl", "-m", "u:1001:rwx,g:1002:r--,m::r-x", m.path("attributes/acl"))
	m.dir("attributes/default acl")
	m.run("setfacl", "-d", "-m", "u:1001:rwx,g:1002:r--", m.path("attributes/default acl"))
	m.run("setfacl", "-m", "u:1003:r-x", m.path("attributes/default acl"))
	m.file("attributes/default acl/inherited", []byte("x"))
	m.dir("attributes/default acl/below")
	m.file("attributes/default acl/no acl", []byte("x"))
	m.run("setfacl", "-b", m.path("attributes/default acl/no acl"))
	m.dir("attributes/default acl/no acl dir")
	m.run("setfacl", "-b", "-k", m.path("attributes/default acl/no acl dir"))
	m.file("attributes/default acl/no acl dir/file", nil)
	m.dir("attributes/append only group")
	m.ok(unix.Chmod(m.path("attributes/append only group"), 0o3770))
}

// deep makes directories in one another.
func (m maker) deep(levels int) {
	name := "deep"
	m.dir(name)
	for i := range levels {
		name += fmt.Sprintf("/level %d", i)
		m.dir(name)
	}
	m.file(name+"/bottom", []byte("here"))
}

// times comes last: making something in a directory changes its time.
func (m maker) times() {
	m.dir("times")
	for name, at := range map[string]unix.Timespec{
		"before 1970": {Sec: -1_000_000_000, Nsec: 5}, "1970": {}, "just before 1970": {Sec: -1, Nsec: 999_999_999}, "after 2106": {Sec: 5_000_000_000, Nsec: 123_456_789},
		"nanoseconds": {Sec: 1_600_000_000, Nsec: 1}, "almost a second": {Sec: 1_600_000_000, Nsec: 999_999_999},
	} {
		m.file("times/"+name, []byte(name))
		m.touch("times/"+name, at)
	}
	m.dir("times/directory")
	m.touch("times/directory", unix.Timespec{Sec: -5, Nsec: 7})
	m.touch("symlinks/dangling", unix.Timespec{Sec: 1_000_000_000, Nsec: 123})
	m.touch("specials/socket", unix.Timespec{Sec: 1_000_000_001, Nsec: 321})
	m.touch("names", unix.Timespec{Sec: 1_000_000_002, Nsec: 3})
	m.touch("", unix.Timespec{Sec: 1_234_567_890, Nsec: 987_654_321})
}

func (m maker) touch(name string, at unix.Timespec) {
	m.t.Helper()
	m.ok(unix.UtimesNanoAt(unix.AT_FDCWD, m.path(name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
}
