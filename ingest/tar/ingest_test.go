package tar

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vaultfs/internal/testrepo"
	"vaultfs/repo"
)

func TestTitleOf(t *testing.T) {
	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.Local)
	for path, want := range map[string]title{
		"/backup/www.tar":                       {Kind, "www", time.Time{}},
		"www.tar.zst":                           {Kind, "www", time.Time{}},
		"a.b.tgz":                               {Kind, "a.b", time.Time{}},
		"backup-2026-11-20.tar.gz":              {Kind, "backup-2026-11-20", time.Time{}},
		"no suffix":                             {Kind, "no suffix", time.Time{}},
		"x@y\n.tar":                             {Kind, "x_y_", time.Time{}},
		"docker-vol-web-data-2026-11-20.tar.gz": {KindVolume, "web-data", day},
		"docker-vol-web-1-my-data-2026-11-20_030405.tar": {KindVolume, "web-1-my-data", day.Add(3*time.Hour + 4*time.Minute + 5*time.Second)},
		"docker-vol-a-b-20261120-03:04.tar.zst":          {KindVolume, "a-b", day.Add(3*time.Hour + 4*time.Minute)},
		"docker-vol-a-b-2026-13-20.tar":                  {Kind, "docker-vol-a-b-2026-13-20", time.Time{}},
		"docker-vol-a-b-2026-11-20":                      {Kind, "docker-vol-a-b-2026-11-20", time.Time{}},
		"docker-vol-2026-11-20.tar":                      {Kind, "docker-vol-2026-11-20", time.Time{}},
	} {
		if got := titleOf(path); got.kind != want.kind || got.name != want.name || !got.time.Equal(want.time) {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestUsage(t *testing.T) {
	r := testrepo.New(t)
	for _, c := range []struct {
		files []string
		o     Options
	}{
		{nil, Options{}}, {[]string{"-"}, Options{Stdin: strings.NewReader("")}}, {[]string{"-"}, Options{Name: "a"}},
		{[]string{"a.tar", "b.tar"}, Options{Name: "a"}}, {[]string{"a.tar"}, Options{Name: "a@b"}}, {[]string{"a.tar", "x/a.tar.gz"}, Options{}}, {[]string{"  .tar"}, Options{}},
	} {
		if _, err := Ingest(t.Context(), r, c.files, c.o); !errors.Is(err, ErrUsage) {
			t.Errorf("%q, %+v: %v", c.files, c.o, err)
		}
	}
}

// One that fails does not stop the others.
func TestSeveral(t *testing.T) {
	r, dir := testrepo.New(t), t.TempDir()
	good := new(made).add('0', "./a", "", "1").end()
	for name, b := range map[string][]byte{"good.tar": good, "cut.tar": good[:700], "docker-vol-a-2026-11-20.tar": good, "docker-vol-a-2026-11-19.tar": good} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var files []string
	for _, name := range []string{"good.tar", "cut.tar", "docker-vol-a-2026-11-20.tar", "docker-vol-a-2026-11-19.tar"} {
		files = append(files, filepath.Join(dir, name))
	}
	made, err := Ingest(t.Context(), r, files, Options{Verify: true})
	if err == nil || !strings.Contains(err.Error(), "cut.tar") || len(made) != 3 {
		t.Fatalf("%d snapshots, %v", len(made), err)
	}
	if a, b := made[1].Snapshot, made[2].Snapshot; a.Source != "docker-vol/a" || a.Time.Local().Day() != 19 || b.Time.Local().Day() != 20 || b.Seq != 2 || a.Items[0].Path != files[3] {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// changing changes its file when it is read.
type changing struct {
	io.Reader
	change func()
}

func (c *changing) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF && c.change != nil {
		c.change()
		c.change = nil
	}
	return n, err
}

func TestChangesMeanwhile(t *testing.T) {
	r := testrepo.New(t)
	for what, change := range map[string]func(file string) error{
		"it was removed while":    os.Remove,
		"it was replaced while":   func(f string) error { return os.Rename(archiveFile(t, []byte("other")), f) },
		"it was written to while": func(f string) error { return os.Chtimes(f, aTime, aTime) },
		"from 2048 to 2049 bytes": func(f string) error { return os.Truncate(f, 2049) },
	} {
		file := archiveFile(t, new(made).add('0', "./a", "", "1").end())
		o := Options{}
		sets, err := o.complete([]string{file})
		if err != nil {
			t.Fatal(err)
		}
		src, err := openFile(file, o.Progress)
		if err != nil {
			t.Fatal(err)
		}
		src.Reader = &changing{src.Reader, func() {
			if err := change(file); err != nil {
				t.Error(err)
			}
		}}
		session, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "tar/x", Kind: Kind})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sets[0].store(t.Context(), session, src, &o); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		src.close()
		if err := session.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestInterrupted(t *testing.T) {
	r := testrepo.New(t)
	in, out := io.Pipe()
	go func() {
		_, _ = out.Write(new(made).add('0', "./a", "", "1").Bytes())
	}()
	defer out.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Ingest(ctx, r, []string{"-"}, Options{Name: "a", Stdin: in}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestGzipCutOff(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(new(made).add('0', "./a", "", strings.Repeat("some text ", 1000)).end())
	z.Close()
	for cut, says := range map[int]string{1: "the gzip data is cut off after", 9: "the gzip data is cut off after", b.Len() / 2: "the gzip data is cut off after"} {
		_, err := Ingest(t.Context(), testrepo.New(t), []string{archiveFile(t, b.Bytes()[:b.Len()-cut])}, Options{})
		if err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes less: %v", cut, err)
		}
	}
}

// noted is what the maker of an archive has written down of an entry.
type noted struct {
	Type         string
	Mode         string
	UID, GID     uint32
	MtimeNS      int64 `json:"mtime_ns"`
	Size         int64
	SHA256       string
	Target       string
	Rdev         string
	Sparse       bool
	Hardlinks    []string
	XattrsBase64 map[string][]byte `json:"xattrs_base64"`
}

// A genuine archive of a container is stored as its maker has noted it.
func TestContainer(t *testing.T) {
	const file = "../../internal/vma/testdata/archives/vzdump-lxc-105-2026_11_20-03_00_00.tar.zst"
	b, err := os.ReadFile(file + ".manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Entries map[string]noted }
	if err := json.Unmarshal(b, &manifest); err != nil || len(manifest.Entries) == 0 {
		t.Fatal(err)
	}
	tree, made := ingested(t, testrepo.New(t), file)
	if len(made.Warnings) > 0 {
		t.Errorf("%q", made.Warnings)
	}
	got := map[string]noted{}
	describe(t, tree, tree.Root(), "./", got, map[uint64][]string{})
	for path, want := range manifest.Entries {
		have, ok := got[path]
		if path == "./etc/vzdump" { // it has no member: tar made it when it was extracted
			have.MtimeNS = want.MtimeNS
		}
		if want.Hardlinks = slices.Clone(want.Hardlinks); !ok || !reflect.DeepEqual(have, want) {
			t.Errorf("%q is\n%+v\nnot\n%+v", path, have, want)
		}
		delete(got, path)
	}
	for path := range got {
		t.Errorf("%q is too much", path)
	}
}

// describe notes all that is in a directory.
func describe(t *testing.T, tree *repo.Tree, e *repo.Entry, path string, into map[string]noted, links map[uint64][]string) {
	t.Helper()
	types := map[uint32]string{modeRegular: "file", modeDir: "dir", modeSymlink: "symlink", modeChar: "char", modeBlock: "block", modeFifo: "fifo"}
	n := noted{
		Type: types[e.Mode&modeType], Mode: fmt.Sprintf("0o%o", e.Permissions()), UID: e.UID, GID: e.GID, MtimeNS: e.Mtime.Time().UnixNano(), Target: e.Target,
	}
	switch n.Type {
	case "file":
		content := read(t, tree, e)
		n.Sparse = !e.Content.Ranges.IsZero()
		n.Size, n.SHA256 = int64(len(content)), fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	case "char", "block":
		n.Rdev = fmt.Sprintf("%d:%d", e.Rdev>>32, e.Rdev&0xffffffff)
	}
	for i := range e.Xattrs {
		value, err := tree.Xattr(t.Context(), &e.Xattrs[i])
		if err != nil {
			t.Fatal(err)
		}
		if n.XattrsBase64 == nil {
			n.XattrsBase64 = map[string][]byte{}
		}
		n.XattrsBase64[e.Xattrs[i].Name] = value
	}
	name := odd.ReplaceAllStringFunc(path, func(s string) string {
		if utf8.ValidString(s) {
			return s
		}
		return fmt.Sprintf("\\x%02x", s[0])
	})
	into[name] = n
	if e.Links > 1 && !e.IsDir() {
		links[e.Inode] = append(links[e.Inode], name)
		for _, other := range links[e.Inode] {
			o := into[other]
			o.Hardlinks = slices.Clone(links[e.Inode])
			into[other] = o
		}
	}
	if !e.IsDir() {
		return
	}
	for child, err := range tree.Entries(t.Context(), e, "") {
		if err != nil {
			t.Fatal(err)
		}
		describe(t, tree, child, strings.TrimSuffix(path, "/")+"/"+child.Name, into, links)
	}
}

// odd finds bytes that are no UTF-8.
var odd = regexp.MustCompile(`[^\x00-\x{10FFFF}]|\x{FFFD}`)
