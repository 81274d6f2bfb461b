package tar

import (
	"fmt"
	"strings"
	"testing"

	"vaultfs/internal/testrepo"
	"vaultfs/repo"
)

// What a member may have before it is bounded, however it is told.
func TestHeadersAreBounded(t *testing.T) {
	large := "comment=" + strings.Repeat("x", 9<<20)
	var keys []string
	for i := range maxGlobals + 1 {
		keys = append(keys, fmt.Sprintf("key%d=", i))
	}
	for want, archive := range map[string]*made{
		"an extended header of 9437201 bytes: at most": new(made).add('x', "", "", pax(large)).add('x', "", "", pax(large)),
		"an extended header of 9437201 bytes":          new(made).add('g', "", "", pax(large)),
		"pax headers with more than 524288 records":    new(made).add('x', "", "", strings.Repeat("5 a=\n", maxRecords+1)),
		"global headers with more than 256 keys":       new(made).add('g', "", "", pax(keys...)),
		"global headers of more than 1048576 bytes": new(made).add('g', "", "", pax("comment="+strings.Repeat("x", 6e5))).
			add('g', "", "", pax("other="+strings.Repeat("x", 6e5))),
	} {
		_, _, err := all(archive.add('0', "a", "", "").end())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "at byte ") {
			t.Errorf("%.300v\nis not %s", err, want)
		}
	}
}

// Of a global record that comes again the last counts, and takes the place of the
// others.
func TestGlobalAgain(t *testing.T) {
	m := new(made)
	for i := range 20 {
		m.add('g', "", "", pax(fmt.Sprintf("uid=%d", i), "comment="+strings.Repeat("x", 5e5)))
	}
	members, _, err := all(m.add('0', "a", "", "").end())
	if err != nil || len(members) != 1 || members[0].uid != 19 {
		t.Errorf("%+v, %v", members, err)
	}
}

// A million extended attributes of one member do not take a million times a
// million steps.
func TestManyXattrs(t *testing.T) {
	var records []string
	for i := range 400000 {
		records = append(records, fmt.Sprintf("SCHILY.xattr.user.%d=", i))
	}
	_, report, err := stored(t, testrepo.New(t), new(made).add('x', "", "", pax(records...)).add('0', "a", "", "").end(), StoreOptions{})
	if err != nil || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "more than 1024 extended attributes; 398976 are left out") {
		t.Errorf("%+v, %v", report, err)
	}
}

// Whatever names an archive has, what is told of it can be read.
func TestMessagesAreShort(t *testing.T) {
	long := strings.Repeat("x", 2<<20)
	m := new(made)
	for range 3 {
		m.add('x', "", "", pax("path="+long)).add('V', "", "", "")
	}
	m.add('x', "", "", pax("path="+long)).add('0', "", "", "")
	m.add('x', "", "", pax("linkpath="+long)).add('1', "a", "", "")
	m.add('x', "", "", pax("SCHILY.acl.access=user::rwx,group::r--,other::r--,mask::rwx,user:"+long+":rwx")).add('0', "b", "", "")
	m.add('x', "", "", pax("SCHILY.acl.access="+long)).add('0', "c", "", "")
	m.add('x', "", "", pax("uname="+long, "gname="+long)).add('0', "d", "", "")
	r := testrepo.New(t)
	tree, report, err := stored(t, r, m.end(), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, tree); got != "b = \nc = \nd = \n" {
		t.Error(got)
	}
	told := append(report.Warnings, report.Notes...)
	if len(told) != 6 {
		t.Errorf("%d are told", len(told))
	}
	for _, text := range told {
		if len(text) > 4<<10 {
			t.Errorf("%.100s… has %d bytes", text, len(text))
		}
	}
	_, _, err = stored(t, r, new(made).add('x', "", "", pax("path="+long)).add('0', "", "", "").Bytes(), StoreOptions{})
	if err == nil || len(err.Error()) > 4<<10 {
		t.Errorf("%.100v…", err)
	}
}

// A sparse file of more runs than are stored, between which there is too much.
func TestRunsFarApart(t *testing.T) {
	const n = repo.MaxRanges + 10
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", n)
	for i := range int64(n) {
		fmt.Fprintf(&b, "%d\n1\n", i<<41)
	}
	m := b.String() + strings.Repeat("\x00", (blockSize-b.Len()%blockSize)%blockSize) + strings.Repeat("x", n)
	archive := new(made).add('x', "", "", pax("GNU.sparse.major=1", "GNU.sparse.minor=0", fmt.Sprintf("GNU.sparse.realsize=%d", int64(n)<<41))).add('0', "far", "", m)
	_, _, err := stored(t, testrepo.New(t), archive.end(), StoreOptions{})
	if err == nil || !strings.Contains(err.Error(), `the member "far": it has 262154 runs of data, which lie too far from one another`) {
		t.Error(err)
	}
}
