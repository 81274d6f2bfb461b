package vzdump

import (
	"encoding/json"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// escaped is a byte of a name in a manifest of a container.
var escaped = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// TestContainer takes in the genuine archive of a container, in each compression,
// and compares its tree with what GNU tar made of it.
func TestContainer(t *testing.T) {
	const name = "vzdump-lxc-105-2026_11_20-03_00_00.tar"
	var want struct {
		Entries map[string]struct {
			Type, Mode, SHA256, Target, Rdev string
			UID, GID                         uint32
			Mtime                            int64 `json:"mtime_ns"`
			Length                           int64 `json:"size"`
			Hardlinks                        []string
			Xattrs                           map[string][]byte `json:"xattrs_base64"`
		}
	}
	if err := json.Unmarshal(read(t, filepath.Join(archives, name+".zst.manifest.json")), &want); err != nil {
		t.Fatal(err)
	}
	r, dir := newRepo(t), t.TempDir()
	plain := write(t, filepath.Join(dir, name), run(t, "zstd", "-dcq", filepath.Join(archives, name+".zst")))
	files := []string{filepath.Join(archives, name+".zst"), plain,
		write(t, plain+".gz", run(t, "gzip", "-c", plain)), write(t, plain+".lzo", run(t, "lzop", "-c", plain))}
	for i, f := range files {
		s := ingestOne(t, r, f, options(t))
		if s.Source != "vzdump/105" || s.Info.Machine != guestContainer || !s.Time.Equal(titleOf(name).time) || (i > 0 && s.Info.Summary.BytesNew > 0) {
			t.Errorf("%s became %+v", f, s)
		}
		d := describes(t, r, s)
		if d.Format != vma.FormatTar || d.Name != name || d.VMID != "105" || len(d.Configs) != 2 {
			t.Errorf("%s is described as %+v", f, d)
		}
		for _, c := range []string{"pct.conf", "pct.fw"} {
			if got, want := hexSum(stored(t, r, item(t, s, c))), want.Entries["./etc/vzdump/"+c].SHA256; got != want {
				t.Errorf("%s has the checksum %s, want %s", c, got, want)
			}
		}
		if i > 0 {
			continue
		}
		tree, err := r.OpenTree(t.Context(), item(t, s, "rootfs"))
		if err != nil {
			t.Fatal(err)
		}
		for path, w := range want.Entries {
			if path == "./etc/vzdump" { // no member of the archive: tar gave it the time of the unpacking
				w.Mtime = titleOf(name).time.UnixNano()
			}
			path = escaped.ReplaceAllStringFunc(path, func(s string) string {
				b, _ := strconv.ParseUint(s[2:], 16, 8)
				return string([]byte{byte(b)})
			})
			e, err := tree.Find(t.Context(), path)
			if err != nil {
				t.Errorf("%q: %v", path, err)
				continue
			}
			mode, err := strconv.ParseUint(strings.TrimPrefix(w.Mode, "0o"), 8, 32)
			if err != nil || e.Permissions() != uint32(mode) || e.UID != w.UID || e.GID != w.GID || e.Mtime.Time().UnixNano() != w.Mtime || e.Target != w.Target {
				t.Errorf("%q is %+v, want %+v", path, e, w)
			}
			if w.Rdev != "" && w.Rdev != strconv.FormatUint(e.Rdev>>32, 10)+":"+strconv.FormatUint(e.Rdev&0xffffffff, 10) {
				t.Errorf("%q is device %#x, want %s", path, e.Rdev, w.Rdev)
			}
			if w.Type == "file" {
				if got := fileSum(t, tree, e); got != w.SHA256 || e.Content.Size != w.Length {
					t.Errorf("%q has %d bytes with the checksum %s, want %d, %s", path, e.Content.Size, got, w.Length, w.SHA256)
				}
			}
			for _, link := range w.Hardlinks {
				if o, err := tree.Find(t.Context(), link); err != nil || o.Inode != e.Inode || int(e.Links) != len(w.Hardlinks) {
					t.Errorf("%q and %q are not the same file (%v)", path, link, err)
				}
			}
			for _, x := range e.Xattrs {
				value, err := tree.Xattr(t.Context(), &x)
				if err != nil || string(value) != string(w.Xattrs[x.Name]) {
					t.Errorf("%q: %s is %x, want %x (%v)", path, x.Name, value, w.Xattrs[x.Name], err)
				}
			}
			if len(e.Xattrs) != len(w.Xattrs) {
				t.Errorf("%q has %d extended attributes, want %d", path, len(e.Xattrs), len(w.Xattrs))
			}
		}
		if got := tree.Root().Below; int(got.Files+got.Dirs+got.Others) < len(want.Entries)-1 {
			t.Errorf("%+v are below the root, want %d", got, len(want.Entries)-1)
		}
	}

	// Cut off anywhere it is no snapshot.
	for _, n := range []int{600, 100_000, len(read(t, plain)) - 20_480} {
		o := options(t)
		err := mustFail(t, r, write(t, filepath.Join(dir, "vzdump-lxc-105-2026_11_21-03_00_00.tar"), read(t, plain)[:n]), o)
		wants(t, err, "vzdump-lxc-105-2026_11_21-03_00_00.tar\": ", "cut off", "still being copied")
	}
}

func fileSum(t testing.TB, tree *repo.Tree, e *repo.Entry) string {
	t.Helper()
	f, err := tree.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return hexSum(b)
}
