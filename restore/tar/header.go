package tar

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"vaultfs/internal/acl"
	"vaultfs/repo"
)

// A header is what stands before the content of a member.
type header struct {
	piece     *piece
	records   []byte // of the pax header
	long      []byte // names in the form of GNU tar, headers included
	size      int64  // of what is stored, the map of a sparse file included
	runs      []repo.Range
	sparseMap []byte
}

// Limits of the fields of a ustar header: POSIX.1-2017, pax, "ustar Interchange
// Format".
const (
	maxField  = 100 // names, in bytes
	maxID     = 1<<21 - 1
	maxSize   = 1<<33 - 1
	maxNumber = 1<<21 - 1 // of a device
)

func newHeader(ctx context.Context, tree *repo.Tree, p *piece) (*header, error) {
	h := &header{piece: p}
	e := p.entry
	if err := h.contents(); err != nil {
		return nil, err
	}
	h.names()
	if p.link != "" {
		return h, nil
	}
	if e.UID > maxID {
		h.record("uid", strconv.FormatUint(uint64(e.UID), 10))
	}
	if e.GID > maxID {
		h.record("gid", strconv.FormatUint(uint64(e.GID), 10))
	}
	if e.Mtime.Nsec != 0 || e.Mtime.Sec < 0 || e.Mtime.Sec > maxSize {
		h.record("mtime", paxTime(e.Mtime))
	}
	if major, minor := e.Rdev>>32, e.Rdev&0xffffffff; major > maxNumber || minor > maxNumber {
		h.record("SCHILY.devmajor", strconv.FormatUint(major, 10))
		h.record("SCHILY.devminor", strconv.FormatUint(minor, 10))
	}
	return h, h.xattrs(ctx, tree)
}

// target is what a link of either sort leads to.
func (p *piece) target() string {
	if p.link != "" {
		return p.link
	}
	return p.entry.Target
}

// names keeps the names that do not fit into a header. The pax header has those
// in ASCII. Others would be taken for UTF-8 there, and not every program would
// give back the bytes as they are: GNU tar's own form of long names has no such
// notion.
func (h *header) names() {
	name := func(s, key string, kind byte) {
		switch {
		case len(s) <= maxField:
		case ascii(s):
			h.record(key, s)
		default:
			b := ustar("././@LongLink", "", kind, int64(len(s))+1)
			numbers(b, 0o644, 0, 0, 0, 0)
			h.long = padded(append(append(h.long, sealed(b)...), s+"\x00"...))
		}
	}
	if h.sparseMap == nil {
		name(h.piece.path, "path", 'L')
	}
	name(h.piece.target(), "linkpath", 'K')
}

// padded fills up to whole blocks with zeros.
func padded(b []byte) []byte {
	return append(b, make([]byte, (blockSize-len(b)%blockSize)%blockSize)...)
}

// contents finds out how the content is stored.
func (h *header) contents() error {
	switch p := h.piece; {
	case p.file == nil:
		h.size = int64(len(p.content))
		return nil
	case p.file.Allocated() == p.file.Size():
		h.size = p.file.Size()
		h.runs = []repo.Range{{Len: h.size}}
	default:
		var err error
		if h.runs, err = runs(p.file); err != nil {
			return err
		}
		h.sparse()
	}
	if h.size > maxSize {
		h.record("size", strconv.FormatInt(h.size, 10))
	}
	return nil
}

// sparse makes the map of a sparse file, in the form 1.0 of GNU tar: the number
// of runs, then offset and length of each, a line each, padded to whole blocks. A
// hole at the end is told by a run without bytes.
func (h *header) sparse() {
	size := h.piece.file.Size()
	list := h.runs
	if n := len(list); n == 0 || list[n-1].Off+list[n-1].Len < size {
		list = append(list[:n:n], repo.Range{Off: size})
	}
	b := fmt.Appendf(nil, "%d\n", len(list))
	for _, r := range list {
		b = strconv.AppendInt(b, r.Off, 10)
		b = append(b, '\n')
		b = strconv.AppendInt(b, r.Len, 10)
		b = append(b, '\n')
		h.size += r.Len
	}
	h.sparseMap = padded(b)
	h.size += int64(len(h.sparseMap))
	h.record("GNU.sparse.major", "1")
	h.record("GNU.sparse.minor", "0")
	h.record("GNU.sparse.name", h.piece.path)
	h.record("GNU.sparse.realsize", strconv.FormatInt(size, 10))
}

// Extended attributes of Linux that hold access control lists, and the keys of
// their text.
var lists = map[string]string{
	"system.posix_acl_access":  "SCHILY.acl.access",
	"system.posix_acl_default": "SCHILY.acl.default",
}

// xattrKeys is GNU tar's way to keep '=' out of keys.
var xattrKeys = strings.NewReplacer("%", "%25", "=", "%3D")

// xattrs writes the extended attributes.
func (h *header) xattrs(ctx context.Context, tree *repo.Tree) error {
	for i := range h.piece.entry.Xattrs {
		x := &h.piece.entry.Xattrs[i]
		value, err := tree.Xattr(ctx, x)
		if err != nil {
			return fmt.Errorf("its extended attribute %q: %w", x.Name, err)
		}
		if key := lists[x.Name]; key != "" {
			if list, err := acl.FromXattr(value); err == nil {
				h.record(key, list.Text())
				continue
			}
		}
		h.record("SCHILY.xattr."+xattrKeys.Replace(x.Name), string(value))
	}
	return nil
}

// record adds a record to the pax header: "LENGTH KEY=VALUE\n", where LENGTH
// counts all of it, its own digits too.
func (h *header) record(key, value string) {
	n := len(key) + len(value) + 3
	digits := len(strconv.Itoa(n))
	if len(strconv.Itoa(n+digits)) > digits {
		digits++
	}
	h.records = strconv.AppendInt(h.records, int64(n+digits), 10)
	h.records = append(h.records, ' ')
	h.records = append(append(h.records, key...), '=')
	h.records = append(append(h.records, value...), '\n')
}

// paxTime writes a time in decimals.
func paxTime(t repo.Timestamp) string {
	sec, nsec, sign := t.Sec, int64(t.Nsec), ""
	if sec < 0 && nsec > 0 {
		sec, nsec = sec+1, 1e9-nsec
		if sec == 0 {
			sign = "-"
		}
	}
	if nsec == 0 {
		return strconv.FormatInt(sec, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, sec, nsec), "0")
}

// encode is the header, after what belongs before it.
func (h *header) encode() []byte {
	out, p := h.long, h.piece
	if len(h.records) > 0 {
		b := ustar(path.Join("PaxHeaders", path.Base(p.path)), "", 'x', int64(len(h.records)))
		numbers(b, 0o644, 0, 0, 0, 0)
		out = padded(append(append(out, sealed(b)...), h.records...))
	}
	name := p.path
	if h.sparseMap != nil { // what does not know of sparse files shall not make a wrong one of this name
		name = path.Join(path.Dir(p.path), "GNUSparseFile.0", path.Base(p.path))
	}
	e := p.entry
	b := ustar(name, p.target(), typeOf(p), h.size)
	numbers(b, e.Mode&0o7777, e.UID, e.GID, e.Mtime.Sec, e.Rdev)
	return append(out, sealed(b)...)
}

// ustar makes a header; what does not fit into it stands in records.
func ustar(name, link string, kind byte, size int64) []byte {
	b := make([]byte, blockSize)
	copy(b[0:100], name)
	if size > maxSize {
		size = 0
	}
	octal(b[124:136], uint64(size))
	b[156] = kind
	copy(b[157:257], link)
	copy(b[257:265], "ustar\x0000")
	return b
}

// numbers writes the other numbers; those that do not fit are 0.
func numbers(b []byte, mode, uid, gid uint32, mtime int64, rdev uint64) {
	within := func(n uint64, limit uint64) uint64 {
		if n > limit {
			return 0
		}
		return n
	}
	octal(b[100:108], uint64(mode))
	octal(b[108:116], within(uint64(uid), maxID))
	octal(b[116:124], within(uint64(gid), maxID))
	octal(b[136:148], within(uint64(mtime), maxSize))
	octal(b[329:337], within(rdev>>32, maxNumber))
	octal(b[337:345], within(rdev&0xffffffff, maxNumber))
}

// octal writes a number with leading zeros, ended by a NUL.
func octal(field []byte, n uint64) {
	copy(field, fmt.Sprintf("%0*o", len(field)-1, n))
}

// sealed writes the checksum.
func sealed(b []byte) []byte {
	copy(b[148:156], "        ")
	sum := uint64(0)
	for _, c := range b {
		sum += uint64(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}
