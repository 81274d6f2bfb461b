package tar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"vaultfs/internal/acl"
	"vaultfs/internal/testrepo"
	"vaultfs/repo"
)

func pax(records ...string) string {
	var b strings.Builder
	for _, r := range records {
		n := len(r) + 3 // a digit, the space and the newline
		for len(fmt.Sprint(n))+len(r)+2 != n {
			n++
		}
		fmt.Fprintf(&b, "%d %s\n", n, r)
	}
	return b.String()
}

func TestMembers(t *testing.T) {
	for name, c := range map[string]struct {
		archive  *made
		want     string
		warnings []string
		notes    []string
	}{
		"any order": {
			archive: new(made).add('0', "a/b/file", "", "1").add('0', "z", "", "2").add('5', "a/", "", "").add('5', "./", "", "").add('5', "a/b", "", ""),
			want:    "a/\na/b/\na/b/file = 1\nz = 2\n",
		},
		"missing parents": {
			archive: new(made).add('0', "./a/b/file", "", "1"),
			want:    "a/\na/b/\na/b/file = 1\n", notes: []string{"directories that the archive has no member for: 3; they belong to root, with mode 755"},
		},
		"names begin with /": {
			archive: new(made).add('5', "/", "", "").add('0', "//file", "", "1").add('1', "/link", "/file", ""),
			want:    "file = 1 x2\nlink = 1 x2\n", notes: []string{"names in the archive begin with /: they are taken to begin in the tree"},
		},
		"names with ..": {
			archive: new(made).add('5', "./", "", "").add('0', "../file", "", "1").add('0', "a/../../b", "", "1").add('1', "c", "../file", "").add('0', "..d", "", "1").add('0', "..", "", "1"),
			want:    "..d = 1\n",
			warnings: []string{`"../file" is left out: its name has a ".." in it`, `"a/../../b" is left out: its name has a ".." in it`,
				`"c" is left out: it is a hard link to "../file", which cannot be in the archive`, `".." is left out: its name has a ".." in it`},
		},
		"the last counts": {
			archive: new(made).add('5', "./", "", "").add('0', "a", "", "1").add('2', "a", "x", "").add('0', "a", "", "22").add('5', "a", "", "").add('0', "a", "", "333").add('5', "d", "", "").add('0', "d/e", "", "1").add('5', "d", "", ""),
			want:    "a = 333\nd/\nd/e = 1\n",
		},
		"a file replaces a directory": {
			archive:  new(made).add('5', "./", "", "").add('0', "a/b/c", "", "1").add('0', "a", "", "2").add('0', "x", "", "3"),
			want:     "a = 2\nx = 3\n",
			warnings: []string{`"a" replaces a directory of that name, which was not empty: what was in it is left out`},
		},
		"and comes back": {
			archive:  new(made).add('5', "./", "", "").add('0', "a/b", "", "1").add('0', "a", "", "2").add('5', "a", "", "").add('0', "a/c", "", "3"),
			want:     "a/\na/c = 3\n",
			warnings: []string{`"a" replaces a directory of that name, which was not empty: what was in it is left out`},
		},
		"below a symbolic link": {
			archive:  new(made).add('5', "./", "", "").add('2', "a", "/etc", "").add('0', "a/passwd", "", "1"),
			want:     "a/\na/passwd = 1\n",
			warnings: []string{`"a/passwd" lies below a symbolic link of the archive, which is left out: a directory takes its place`},
			notes:    []string{"directories that the archive has no member for: 1; they belong to root, with mode 755"},
		},
		"below a file": {
			archive:  new(made).add('5', "./", "", "").add('0', "a", "", "0").add('0', "a/b", "", "1"),
			want:     "a/\na/b = 1\n",
			warnings: []string{`"a/b" lies below a file of the archive, which is left out: a directory takes its place`},
			notes:    []string{"directories that the archive has no member for: 1; they belong to root, with mode 755"},
		},
		"hard links": {
			archive: new(made).add('5', "./", "", "").add('0', "a", "", "1").add('1', "d/b", "a", "").add('1', "c", "./d/b", "").add('2', "s", "t", "").add('1', "s2", "s", "").add('1', "a", "a", ""),
			want:    "a = 1 x3\nc = 1 x3\nd/\nd/b = 1 x3\ns -> t x2\ns2 -> t x2\n",
			notes:   []string{"directories that the archive has no member for: 1; they belong to root, with mode 755"},
		},
		"a link to what is replaced": {
			archive: new(made).add('5', "./", "", "").add('0', "a", "", "1").add('1', "b", "a", "").add('0', "a", "", "2").add('1', "c", "a", ""),
			want:    "a = 2 x2\nb = 1\nc = 2 x2\n",
		},
		"links to nothing": {
			archive: new(made).add('5', "./", "", "").add('1', "a", "b", "").add('0', "b", "", "1").add('5', "d", "", "").add('1', "e", "d", ""),
			want:    "b = 1\nd/\n",
			warnings: []string{`"a" is left out: it is a hard link to "b", which is no file before it in the archive`,
				`"e" is left out: it is a hard link to "d", which is no file before it in the archive`},
		},
		"long names": {
			archive: new(made).add('5', "./", "", "").add('L', "././@LongLink", "", strings.Repeat("n", 255)+"\x00").add('0', "short", "", "1").
				add('L', "././@LongLink", "", strings.Repeat("n", 256)+"\x00").add('0', "short", "", "1").
				add('x', "", "", pax("path="+strings.Repeat("d/", 4097)+"f")).add('0', "short", "", "1"),
			want: strings.Repeat("n", 255) + " = 1\n",
			warnings: []string{fmt.Sprintf("%q is left out: a part of its name has more than 255 bytes", strings.Repeat("n", 256)),
				fmt.Sprintf("%q is left out: it lies below more than 4096 directories", shortened(strings.Repeat("d/", 4097)+"f"))},
		},
		"odd types": {
			archive: new(made).add('5', "./", "", "").add('V', "label", "", "").add('7', "contiguous", "", "1").add(0, "old", "", "2").add(0, "old dir/", "", "").
				add('D', "dumped/", "", "Yfile\x00\x00").add('0', "dumped/file", "", "3").add('Q', "unknown", "", "4").add('6', "fifo", "", ""),
			want:     "contiguous = 1\ndumped/\ndumped/file = 3\nfifo\nold = 2\nold dir/\nunknown = 4\n",
			warnings: []string{`"unknown" has the type 'Q', which is not known: it is taken for a regular file`},
			notes:    []string{`the archive's label is "label"`, "the archive is one of `tar --listed-incremental`: its members are kept, not which files were removed since the one before"},
		},
		"not the tree itself": {
			archive:  new(made).add('5', "./", "", "").add('0', ".", "", "1").add('2', "/", "x", "").add('2', "empty", "", "").add('0', "a", "", "1"),
			want:     "a = 1\n",
			warnings: []string{`"." is left out: it is the tree itself, and no directory`, `"/" is left out: it is the tree itself, and no directory`, `"empty" is left out: it is a symbolic link with a target of 0 bytes`},
			notes:    []string{"names in the archive begin with /: they are taken to begin in the tree"},
		},
		"a second archive behind": {
			archive: func() *made {
				m := new(made).add('5', "./", "", "").add('0', "a", "", "1")
				m.end()
				return m.add('0', "b", "", "2")
			}(),
			want:     "a = 1\n",
			warnings: []string{"something follows the end of the archive, at byte 2560, and is left out: if it is a second archive, unpack them with `tar --ignore-zeros` and pack the result"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree, report, err := stored(t, testrepo.New(t), c.archive.end(), StoreOptions{Time: aTime})
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(t, tree); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if !slices.Equal(report.Warnings, c.warnings) {
				t.Errorf("warnings\n%s\nwant\n%s", strings.Join(report.Warnings, "\n"), strings.Join(c.warnings, "\n"))
			}
			if c.notes != nil && !slices.Equal(report.Notes, c.notes) {
				t.Errorf("notes\n%s\nwant\n%s", strings.Join(report.Notes, "\n"), strings.Join(c.notes, "\n"))
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	lists := "SCHILY.acl.access=user::rw-,user:joe:r--,user:7:rwx,group::r--,mask::r-x,other::---"
	archive := new(made).
		add('x', "", "", pax("uname=joe", "uid=1000", "mtime=-1.25")).add('0', "a", "", "1").
		add('x', "", "", pax(lists, "SCHILY.xattr.user.a%3Db%25=\x00\xff", "LIBARCHIVE.xattr.user.%C3%A4=aGk=", "RHT.security.selinux=u:r:t:s0", "comment=x", "GNU.unknown=y")).add('0', "b", "", "1").
		add('g', "", "", pax("gid=4000000000")).add('3', "c", "", "").
		add('x', "", "", pax("SCHILY.acl.access=user::rwx,user:nobody-knows:rwx,group::r-x,mask::rwx,other::r-x", "SCHILY.acl.default=nonsense")).add('5', "d", "", "").
		end()
	tree, report, err := stored(t, testrepo.New(t), archive, StoreOptions{Time: aTime})
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) *repo.Entry {
		e, err := tree.Find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := get("a"); e.Mode != 0o100640 || e.UID != 1000 || e.GID != 0o1751 || e.Mtime != (repo.Timestamp{Sec: -2, Nsec: 75e7}) || e.Blocks != 8 || e.Links != 1 || e.Inode != 0 {
		t.Errorf("%+v", e)
	}
	want := map[string]string{
		"system.posix_acl_access": string(acl.List{{Tag: acl.UserObj, Perm: 6}, {Tag: acl.OneUser, Perm: 7, ID: 7}, {Tag: acl.OneUser, Perm: 4, ID: 1000}, {Tag: acl.GroupObj, Perm: 4}, {Tag: acl.Mask, Perm: 5}, {Tag: acl.Other}}.Xattr()),
		"user.a=b%":               "\x00\xff", "user.ä": "hi", "security.selinux": "u:r:t:s0\x00",
	}
	b := get("b")
	for _, x := range b.Xattrs {
		if want[x.Name] != string(x.Value) {
			t.Errorf("%s = %q", x.Name, x.Value)
		}
	}
	if len(b.Xattrs) != len(want) || b.Mode != 0o100650 {
		t.Errorf("%+v", b)
	}
	if e := get("c"); e.Mode != 0o020640 || e.Rdev != 7<<32|9 || e.GID != 4000000000 {
		t.Errorf("%+v", e)
	}
	if root := tree.Root(); root.Mode != 0o040755 || root.Mtime.Sec != aTime.Unix() {
		t.Errorf("%+v", root)
	}
	wantWarnings := []string{
		"\"d\": its access control list names the user \"nobody-knows\", whose number neither the archive nor this host knows: that entry is left out; `tar --numeric-owner` keeps it",
		`"d": its access control list is left out: "nonsense" is no entry of an access control list`,
	}
	if !slices.Equal(report.Warnings, wantWarnings) {
		t.Errorf("%q", report.Warnings)
	}
}

func TestLook(t *testing.T) {
	archive := new(made).add('0', "./etc/vzdump/pct.conf", "", "arch: amd64\n").add('0', "etc/other", "", "x").end()
	var got string
	errNo := errors.New("that cannot be")
	look := map[string]func([]byte) error{"etc/vzdump/pct.conf": func(b []byte) error { got = string(b); return nil }}
	tree, _, err := stored(t, testrepo.New(t), archive, StoreOptions{Look: look})
	if err != nil || got != "arch: amd64\n" || !strings.Contains(listing(t, tree), "pct.conf = arch") {
		t.Errorf("%q, %v", got, err)
	}
	look["etc/vzdump/pct.conf"] = func([]byte) error { return errNo }
	if _, _, err := stored(t, testrepo.New(t), archive, StoreOptions{Look: look}); !errors.Is(err, errNo) {
		t.Errorf("%v", err)
	}
}

// An archive that is not whole is an error, wherever it is cut off.
func TestNotWhole(t *testing.T) {
	r := testrepo.New(t)
	whole := new(made).add('5', "./", "", "").add('x', "", "", pax("path=a long name")).add('0', "a", "", strings.Repeat("content ", 200)).end()
	for n := 1; n < len(whole)-blockSize; n += 171 {
		_, _, err := stored(t, r, whole[:n], StoreOptions{})
		if err == nil || n >= blockSize && !strings.Contains(err.Error(), "cut off") {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, _, err := stored(t, r, whole[:len(whole)-blockSize], StoreOptions{}); err != nil {
		t.Errorf("one block of zeros at the end: %v", err)
	}
}

func TestRefused(t *testing.T) {
	sparse := func(records ...string) []byte {
		return new(made).add('x', "", "", pax(records...)).add('0', "a", "", "12345").end()
	}
	flipped := new(made).add('0', "a", "", "1").add('0', "b", "", "2").end()
	flipped[1024+3] ^= 4
	huge := &block{}
	copy(huge[0:], "huge")
	copy(huge[124:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	negative := &block{}
	copy(negative[0:], "negative")
	copy(negative[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"empty":                {nil, "it is empty"},
		"without members":      {make([]byte, 10240), "it has no members"},
		"noise":                {[]byte(strings.Repeat("noise", 1000)), "it is not a tar archive"},
		"a few bytes":          {[]byte("noise"), "it is not a tar archive"},
		"zip":                  {[]byte("PK\x03\x04" + strings.Repeat("x", 1000)), "it is a zip archive"},
		"VMA":                  {[]byte("VMA\x00" + strings.Repeat("x", 1000)), "ingest vzdump"},
		"flipped":              {flipped, `at byte 1536, after the member "a": the archive is damaged: there is no valid header`},
		"another volume":       {new(made).add('M', "a", "", "1").end(), "goes on from another volume"},
		"volume in pax":        {sparse("GNU.volume.filename=a"), "goes on from another volume"},
		"lone zeros":           {slices.Concat(new(made).add('0', "a", "", "1").Bytes(), make([]byte, blockSize), new(made).add('0', "a", "", "1").end()), "a block of zeros stands where a header should"},
		"bad pax":              {new(made).add('x', "", "", "7 a=b\nx").add('0', "a", "", "1").end(), "a pax header that cannot be read"},
		"NUL in pax":           {sparse("path=a\x00b"), "its path"},
		"bad time":             {sparse("mtime=yesterday"), "its mtime"},
		"huge":                 {new(made).raw(huge, "").end(), "a field that is no number"},
		"negative":             {new(made).raw(negative, "").end(), "a field that is no number"},
		"sparse: too much":     {sparse("GNU.sparse.size=100", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,50"), "a map of its data"},
		"sparse: beyond":       {sparse("GNU.sparse.size=3", "GNU.sparse.map=0,5"), "a map of its data"},
		"sparse: not rising":   {sparse("GNU.sparse.size=100", "GNU.sparse.map=50,3,10,2"), "a map of its data"},
		"sparse: overlapping":  {sparse("GNU.sparse.size=100", "GNU.sparse.map=10,3,12,2"), "a map of its data"},
		"sparse: negative":     {sparse("GNU.sparse.size=-5", "GNU.sparse.map=10,3,20,2"), "a map of its data"},
		"sparse: overflow":     {sparse("GNU.sparse.size=9223372036854775807", "GNU.sparse.map=9223372036854775806,5"), "a map of its data"},
		"sparse: too large":    {sparse("GNU.sparse.size=9223372036854775807", "GNU.sparse.map=0,5"), "a field that is no number"},
		"sparse: odd":          {sparse("GNU.sparse.size=100", "GNU.sparse.map=10"), "a map of its data"},
		"sparse: new form":     {sparse("GNU.sparse.major=2"), "not known here"},
		"sparse: star":         {sparse("SCHILY.realsize=100"), "star"},
		"sparse: no map":       {sparse("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=10"), "a map of its data"},
		"sparse: short map":    {new(made).add('x', "", "", pax("GNU.sparse.major=1", "GNU.sparse.realsize=10")).add('0', "a", "", "5\n1\n").end(), "a map of its data"},
		"sparse: endless line": {new(made).add('x', "", "", pax("GNU.sparse.major=1", "GNU.sparse.realsize=10")).add('0', "a", "", strings.Repeat("1", 512)).end(), "a map of its data"},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t)
			_, _, err := stored(t, r, c.archive, StoreOptions{})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if all, err := r.Snapshots(t.Context()); err != nil || len(all) > 0 {
				t.Errorf("%d snapshots, %v", len(all), err)
			}
		})
	}
}

func TestManyWarnings(t *testing.T) {
	m := new(made).add('5', "./", "", "")
	for range maxWarnings + 5 {
		m.add('0', "../x", "", "")
	}
	_, report, err := stored(t, testrepo.New(t), m.end(), StoreOptions{})
	if err != nil || len(report.Warnings) != maxWarnings+1 || report.Warnings[maxWarnings] != "and 5 more of the like" {
		t.Errorf("%d warnings, %v", len(report.Warnings), err)
	}
}

// What has more runs than the repository takes is stored with fewer holes.
func TestManyRuns(t *testing.T) {
	runs := []repo.Range{{Off: 10, Len: 1}, {Off: 12, Len: 2}, {Off: 9000, Len: 3}, {Off: 10000, Len: 1}, {Off: 1 << 20, Len: 1}}
	content := "abbcccde"
	for limit, want := range map[int][]repo.Range{
		5: runs,
		4: {{Off: 10, Len: 4}, {Off: 9000, Len: 1001}, {Off: 1 << 20, Len: 1}},
		2: {{Off: 10, Len: 9991}, {Off: 1 << 20, Len: 1}},
	} {
		merged := storable(slices.Clone(runs), limit)
		if !slices.Equal(merged, want) {
			t.Errorf("at most %d: %v", limit, merged)
		}
		var file, stored []byte
		file = make([]byte, 1<<20+1)
		rest := content
		for _, r := range runs {
			copy(file[r.Off:], rest[:r.Len])
			rest = rest[r.Len:]
		}
		for _, r := range merged {
			stored = append(stored, file[r.Off:r.Off+r.Len]...)
		}
		got, err := io.ReadAll(newFiller(strings.NewReader(content), runs, merged))
		if err != nil || !bytes.Equal(got, stored) {
			t.Errorf("at most %d: %d bytes, want %d, %v", limit, len(got), len(stored), err)
		}
		if len(merged) < len(runs) {
			if _, err := io.ReadAll(newFiller(strings.NewReader(content[:4]), runs, merged)); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut off: %v", err)
			}
		}
	}
}
