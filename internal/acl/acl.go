package acl

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What an entry's name is of: the words of the text.
const (
	User  = "user"
	Group = "group"
)

// A Tag says who an entry is for. The numbers are those of Linux, in
// include/uapi/linux/posix_acl.h, and rise in the order that the kernel wants.
type Tag uint16

// The tags.
const (
	UserObj  Tag = 0x01 // the file's owner
	OneUser  Tag = 0x02 // the user ID
	GroupObj Tag = 0x04 // the file's group
	OneGroup Tag = 0x08 // the group ID
	Mask     Tag = 0x10 // the most that all but the owner and others get
	Other    Tag = 0x20
)

// named tells the tags whose entries have an ID.
func (t Tag) named() bool { return t == OneUser || t == OneGroup }

// An Entry gives somebody permissions: 4 to read, 2 to write, 1 to execute.
type Entry struct {
	Tag  Tag
	Perm uint16
	ID   uint32 // of OneUser and OneGroup
}

// A List is an access control list, as acl(5) describes it, sorted by tag and ID.
type List []Entry

// MaxEntries bounds a list: no file system of Linux keeps more.
const MaxEntries = 8191

var errInvalid = errors.New("is no valid access control list")

// Minimal tells whether a list says no more than the permission bits of a mode.
func (l List) Minimal() bool {
	return !slices.ContainsFunc(l, func(e Entry) bool { return e.Tag.named() || e.Tag == Mask })
}

// Mode is the permission bits of a file that has the list: where there is a mask,
// that stands in the place of the group's.
func (l List) Mode() (mode uint32) {
	for _, e := range l {
		switch e.Tag {
		case UserObj:
			mode |= uint32(e.Perm) << 6
		case GroupObj:
			if !slices.ContainsFunc(l, func(e Entry) bool { return e.Tag == Mask }) {
				mode |= uint32(e.Perm) << 3
			}
		case Mask:
			mode |= uint32(e.Perm) << 3
		case Other:
			mode |= uint32(e.Perm)
		}
	}
	return mode
}

// check sorts a list and finds what acl_valid(3) does not allow.
func (l List) check() error {
	slices.SortFunc(l, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.ID, b.ID)) })
	count := map[Tag]int{}
	for i, e := range l {
		if count[e.Tag]++; e.Perm > 7 || i > 0 && l[i-1].Tag == e.Tag && l[i-1].ID == e.ID {
			return errInvalid
		}
	}
	named := count[OneUser] + count[OneGroup]
	if count[UserObj] != 1 || count[GroupObj] != 1 || count[Other] != 1 || named > 0 && count[Mask] != 1 || len(l) > MaxEntries {
		return errInvalid
	}
	return nil
}

// words are the tags as the text has them.
var words = map[string][2]Tag{ // without and with a name
	"user": {UserObj, OneUser}, "u": {UserObj, OneUser},
	"group": {GroupObj, OneGroup}, "g": {GroupObj, OneGroup},
	"mask": {Mask}, "m": {Mask}, "other": {Other}, "o": {Other},
}

// Parse reads a list from its text, long or short, as acl_to_text(3) and the tar
// programs write it: entries between commas or on lines of their own, of the form
// "user:1000:rwx", or, by star and libarchive, "user:joe:rwx:1000". A name
// without a number is looked up. Of those that lookup does not know the entries
// are left out and named in unknown, "user joe".
func Parse(text string, lookup func(kind, name string) (uint32, bool)) (l List, unknown []string, err error) {
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\n", ","), ",") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.Trim(line, " \t\x00"); line == "" {
			continue
		}
		e, who, err := parseEntry(strings.TrimPrefix(line, "default:"), lookup)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%q %w", shortened(line), err)
		case who != "":
			unknown = append(unknown, who)
		default:
			l = append(l, e)
		}
		if len(l) > MaxEntries {
			return nil, nil, fmt.Errorf("a list of more than %d entries: %w", MaxEntries, errInvalid)
		}
	}
	if err := l.check(); err != nil {
		return nil, nil, fmt.Errorf("%q %w", shortened(text), err)
	}
	return l, unknown, nil
}

// shortened keeps a message readable.
func shortened(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// parseEntry reads an entry, or says who it is for if that is not known.
func parseEntry(line string, lookup func(kind, name string) (uint32, bool)) (e Entry, unknown string, err error) {
	const notEntry = "is no entry of an access control list"
	fields := strings.Split(line, ":")
	tags, ok := words[fields[0]]
	if ok && len(fields) == 2 && tags[1] == 0 { // "mask:rwx"
		fields = []string{fields[0], "", fields[1]}
	}
	if !ok || len(fields) < 3 || len(fields) > 4 || fields[1] != "" && tags[1] == 0 {
		return e, "", errors.New(notEntry)
	}
	e.Tag = tags[0]
	if e.Perm, ok = parsePerm(fields[2]); !ok {
		return e, "", errors.New(notEntry)
	}
	name := fields[1]
	if name == "" {
		return e, "", nil
	}
	e.Tag = tags[1]
	number := name
	if len(fields) == 4 {
		number = fields[3]
	}
	if n, err := strconv.ParseUint(number, 10, 32); err == nil {
		e.ID = uint32(n)
		return e, "", nil
	}
	kind := User
	if e.Tag == OneGroup {
		kind = Group
	}
	if e.ID, ok = lookup(kind, name); !ok {
		return e, kind + " " + strconv.Quote(shortened(name)), nil
	}
	return e, "", nil
}

// parsePerm reads permissions: "rwx", a dash for each that is not given.
func parsePerm(s string) (perm uint16, ok bool) {
	for _, c := range strings.TrimSpace(s) {
		i := strings.IndexRune("xwr", c)
		switch {
		case i >= 0 && perm&(1<<i) == 0:
			perm |= 1 << i
		case c != '-':
			return 0, false
		}
	}
	return perm, s != ""
}

// Text writes a list as GNU tar does: entries between commas, with numbers for
// names.
func (l List) Text() string {
	var b strings.Builder
	for i, e := range l {
		if i > 0 {
			b.WriteByte(',')
		}
		switch e.Tag {
		case UserObj, OneUser:
			b.WriteString("user:")
		case GroupObj, OneGroup:
			b.WriteString("group:")
		case Mask:
			b.WriteString("mask:")
		case Other:
			b.WriteString("other:")
		}
		if e.Tag.named() {
			b.WriteString(strconv.FormatUint(uint64(e.ID), 10))
		}
		b.WriteByte(':')
		for i, c := range "rwx" {
			if e.Perm&(4>>i) == 0 {
				c = '-'
			}
			b.WriteRune(c)
		}
	}
	return b.String()
}
