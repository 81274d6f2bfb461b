package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/sys/unix"

	"vaultfs/repo"
)

// rowsAtOnce are printed as one table, or fewer if their paths have pathsAtOnce
// bytes together: of a million files nobody waits for the last to see the first,
// and a path may have a million bytes.
const (
	rowsAtOnce  = 1000
	pathsAtOnce = 1 << 20
)

// A listing prints files as they are found.
type listing struct {
	p       *printer
	o       lsOptions
	rows    []entry
	paths   int // bytes of the rows' paths
	printed bool
}

func (p *printer) listing(o lsOptions) *listing { return &listing{p: p, o: o} }

// begun tells whether something was listed.
func (l *listing) begun() bool { return l.printed || len(l.rows) > 0 }

func (l *listing) add(e entry) {
	l.rows = append(l.rows, e)
	if l.paths += len(e.path); len(l.rows) == rowsAtOnce || l.paths >= pathsAtOnce {
		l.flush()
	}
}

// end prints the rest.
func (l *listing) end() {
	if !l.printed || len(l.rows) > 0 {
		l.flush()
	}
	if l.p.json {
		l.p.bytes([]byte("]\n"))
	}
}

func (l *listing) flush() {
	switch {
	case l.o.null:
		var b strings.Builder
		for _, e := range l.rows {
			b.WriteString(e.path + "\x00")
		}
		l.p.bytes([]byte(b.String()))
	case l.p.json:
		l.flushJSON()
	default:
		l.flushTable()
	}
	clear(l.rows)
	l.rows, l.paths, l.printed = l.rows[:0], 0, true
}

// flushJSON prints a part of one list.
func (l *listing) flushJSON() {
	var b strings.Builder
	if !l.printed {
		b.WriteString("[")
	}
	for i, e := range l.rows {
		if l.printed || i > 0 {
			b.WriteString(",")
		}
		b.WriteString(strings.TrimSuffix(jsonLine(toEntryJSON(e)), "\n"))
	}
	l.p.bytes([]byte(b.String()))
}

func (l *listing) flushTable() {
	header, size := table.Row{"BYTES", "PATH"}, 1
	if l.o.long {
		header, size = table.Row{"MODE", "OWNER", "BYTES", "MODIFIED", "PATH"}, 3
	}
	t := newTable()
	if !l.printed {
		t = newTable(header...)
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Number: size, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	for _, e := range l.rows {
		if l.o.long {
			mode, owner, modified := longFacts(e)
			t.AppendRow(table.Row{mode, owner, e.size, modified, shownPath(e) + leadsTo(e)})
		} else {
			t.AppendRow(table.Row{e.size, shownPath(e)})
		}
	}
	l.p.table(t)
}

// longFacts are the mode, the owner and the time of a file of a tree. Of another
// item there are none, and its kind is told.
func longFacts(e entry) (mode, owner, modified string) {
	if e.stored == nil {
		return e.item.Kind, "", ""
	}
	return modeWord(e.stored), fmt.Sprintf("%d:%d", e.stored.UID, e.stored.GID), localTime(e.stored.Mtime.Time())
}

// modeWord writes a mode as ls(1) does.
func modeWord(e *repo.Entry) string {
	kind := map[uint32]byte{unix.S_IFSOCK: 's', unix.S_IFLNK: 'l', unix.S_IFREG: '-', unix.S_IFBLK: 'b', unix.S_IFDIR: 'd', unix.S_IFCHR: 'c', unix.S_IFIFO: 'p'}[e.Type()]
	word := []byte("?rwxrwxrwx")
	word[0] = kind
	for i := range 9 {
		if e.Mode>>(8-i)&1 == 0 {
			word[i+1] = '-'
		}
	}
	for _, s := range []struct {
		bit uint32
		at  int
		set byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if e.Mode&s.bit == 0 {
			continue
		}
		if word[s.at] == '-' {
			word[s.at] = s.set - 'a' + 'A'
		} else {
			word[s.at] = s.set
		}
	}
	return string(word)
}

// shownPath is a path on one line, a directory's with a slash at its end.
func shownPath(e entry) string {
	path := oneLine(e.path)
	if e.stored != nil && e.stored.IsDir() && path != "" {
		path += "/"
	}
	return path
}

func leadsTo(e entry) string {
	if e.stored == nil || !e.stored.IsSymlink() {
		return ""
	}
	return " -> " + oneLine(e.stored.Target)
}

// oneLine escapes what would end a line or a column, and all that clean does.
func oneLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(clean(s))
}

type entryJSON struct {
	Path   string `json:"path"`
	Item   string `json:"item"`
	Kind   string `json:"kind"`
	Format string `json:"format"` // of the file: "qcow2", "raw", "vma", "" of another
	Size   int64  `json:"size"`
	*storedJSON
}

// storedJSON is what there is to tell of a file or a directory of a tree. Bytes
// are in base64.
type storedJSON struct {
	PathBytes []byte    `json:"path_bytes,omitempty"` // if the path is no UTF-8
	Type      string    `json:"type"`                 // "file", "directory", "symlink", "fifo", "socket", "char", "block"
	Mode      string    `json:"mode"`                 // octal, without the type
	UID       uint32    `json:"uid"`
	GID       uint32    `json:"gid"`
	Modified  time.Time `json:"modified"`
	Links     uint32    `json:"links"`
	Target    string    `json:"target,omitempty"`       // of a symbolic link
	TargetRaw []byte    `json:"target_bytes,omitempty"` // if the target is no UTF-8
	Device    string    `json:"device,omitempty"`       // "8:0"
	Xattrs    []string  `json:"xattrs,omitempty"`       // their names
	Below     uint64    `json:"below,omitempty"`        // files and directories below
}

func toEntryJSON(e entry) entryJSON {
	j := entryJSON{e.path, e.item.Name, e.item.Kind, e.format, e.size, nil}
	if e.stored == nil {
		return j
	}
	s := e.stored
	j.storedJSON = &storedJSON{
		Type: typeWord(s), Mode: fmt.Sprintf("%04o", s.Permissions()), UID: s.UID, GID: s.GID,
		Modified: s.Mtime.Time().UTC(), Links: max(1, s.Links), Target: s.Target, Below: s.Below.Files + s.Below.Dirs + s.Below.Others,
	}
	if !utf8.ValidString(e.path) {
		j.PathBytes = []byte(e.path)
	}
	if !utf8.ValidString(s.Target) {
		j.TargetRaw = []byte(s.Target)
	}
	if word := j.Type; word == "char" || word == "block" {
		j.Device = fmt.Sprintf("%d:%d", s.Rdev>>32, uint32(s.Rdev))
	}
	for _, x := range s.Xattrs {
		j.Xattrs = append(j.Xattrs, x.Name)
	}
	return j
}

func typeWord(e *repo.Entry) string {
	return map[uint32]string{unix.S_IFSOCK: "socket", unix.S_IFLNK: "symlink", unix.S_IFREG: "file", unix.S_IFBLK: "block",
		unix.S_IFDIR: "directory", unix.S_IFCHR: "char", unix.S_IFIFO: "fifo"}[e.Type()]
}
