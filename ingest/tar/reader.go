package tar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"vaultfs/repo"
)

// Bounds of what comes before a member, in bytes and records. Without them a few
// kilobytes, compressed, could take all memory.
const (
	maxPax     = 16 << 20 // all of its pax headers
	maxRecords = 1 << 19
	maxGlobal  = 1 << 20 // what global headers say, for as long as it holds
	maxGlobals = 256     // keys
	maxLong    = 1 << 20 // a name
)

// maxSize bounds the size of a file, holes included, so that sums of sizes and
// offsets stay within 64 bits.
const maxSize = 1 << 61

var (
	errVolume  = errors.New("goes on from another volume: put the volumes together with `tar --multi-volume`, or restore and pack them anew")
	errCut     = fmt.Errorf("the archive is cut off: was it copied to its end? (%w)", io.ErrUnexpectedEOF)
	errUnended = errors.New("the archive has no end mark, so that it is cut off, or its writer was stopped")
)

// A member is an entry of the archive.
type member struct {
	kind         byte
	name, link   string
	mode         int64
	uid, gid     int64
	uname, gname string
	mtime        repo.Timestamp
	stored       int64 // bytes of content in the archive
	major, minor int64
	sparse       sparseMap
	xattrs       []record
	surplus      int // extended attributes that are too many
	accessACL    string
	defaultACL   string
	dumpdir      bool
}

// size is the size of the file.
func (m *member) size() int64 {
	if m.sparse.is {
		return m.sparse.size
	}
	return m.stored
}

// A reader reads the members of an archive. Unlike archive/tar it tells where
// the holes of a sparse file are before its content is read, takes whatever
// bytes a name has, and does not take a cut between two members for the end.
type reader struct {
	r      io.Reader
	n      int64 // bytes read
	left   int64 // of the content of the current member, with its padding
	unread int64 // of the content itself
	pax    []record
	paxed  int64 // bytes of them
	global []record
	last   string // name of the last member
	head   block
}

// Read reads the content of the current member as it is stored.
func (t *reader) Read(p []byte) (int, error) {
	if t.unread == 0 {
		return 0, io.EOF
	}
	n, err := t.r.Read(p[:min(int64(len(p)), t.unread)])
	t.unread, t.left, t.n = t.unread-int64(n), t.left-int64(n), t.n+int64(n)
	if err == io.EOF {
		if err = nil; t.unread > 0 {
			err = errCut
		}
	}
	return n, err
}

// next goes to the next member; io.EOF is the end of the archive. Every other
// error tells the place.
func (t *reader) next() (*member, error) {
	m, err := t.read()
	if err == nil {
		t.last = m.name
		return m, nil
	}
	if err == io.EOF || err == ErrEmpty || err == ErrNotTar {
		return nil, err
	}
	return nil, t.at(err)
}

// at says where an error happened.
func (t *reader) at(err error) error {
	if t.last == "" {
		return fmt.Errorf("at byte %d: %w", t.n, err)
	}
	return fmt.Errorf("at byte %d, after the member %q: %w", t.n, shortened(t.last), err)
}

func (t *reader) read() (*member, error) {
	t.pax, t.paxed = t.pax[:0], 0
	var name, link *string
	for {
		if err := t.header(); err != nil {
			return nil, err
		}
		var err error
		switch t.head.kind() {
		case typePax, typePaxSun, typePaxGlobal:
			err = t.readPax()
		case typeLongName:
			name, err = t.readLong()
		case typeLongLink:
			link, err = t.readLong()
		case typeContinued:
			err = errVolume
		default:
			return t.member(name, link)
		}
		if err != nil {
			return nil, err
		}
	}
}

// header reads the next header; io.EOF is the end mark.
func (t *reader) header() error {
	if err := t.skip(); err != nil {
		return err
	}
	first := t.n == 0
	switch n, err := t.block(&t.head); {
	case err == io.EOF && n == 0 && first:
		return ErrEmpty
	case err == io.EOF && n == 0:
		return errUnended
	case err == io.EOF && first:
		return ErrNotTar
	case err == io.EOF:
		return errCut
	case err != nil:
		return err
	}
	if t.head.zero() {
		return t.end()
	}
	if t.head.sound() {
		return nil
	}
	if first {
		return ErrNotTar
	}
	return errors.New("the archive is damaged: there is no valid header")
}

// end reads the second block of the end mark. GNU tar takes one for the end if
// nothing follows.
func (t *reader) end() error {
	switch _, err := t.block(&t.head); {
	case err != nil:
		return err
	case !t.head.zero():
		return errors.New("the archive is damaged: a block of zeros stands where a header should")
	}
	return io.EOF
}

// block reads a block. A part of one is io.EOF beside its length.
func (t *reader) block(b *block) (int, error) {
	n, err := io.ReadFull(t.r, b[:])
	t.n += int64(n)
	if err == io.ErrUnexpectedEOF && n < blockSize && n > 0 {
		err = io.EOF
	}
	return n, err
}

// skip passes over what was not read of the current member.
func (t *reader) skip() error {
	n, err := io.CopyN(io.Discard, t.r, t.left)
	t.n += n
	t.left, t.unread = 0, 0
	if err == io.EOF {
		return errCut
	}
	return err
}

// content begins the content of a member or of an extended header.
func (t *reader) content(n int64) error {
	if n < 0 || n > maxSize {
		return errNumber
	}
	t.unread, t.left = n, (n+blockSize-1)/blockSize*blockSize
	return nil
}

// all reads the content of an extended header.
func (t *reader) all(limit int64) ([]byte, error) {
	n, err := number(t.head.size())
	if err == nil {
		err = t.content(n)
	}
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("an extended header of %d bytes: at most %d are read", n, limit)
	}
	b, err := io.ReadAll(t)
	return b, err
}

func (t *reader) readPax() error {
	if t.head.kind() == typePaxGlobal {
		return t.readGlobal()
	}
	b, err := t.all(maxPax - t.paxed)
	if err != nil {
		return err
	}
	t.paxed += int64(len(b))
	t.pax, err = parsePax(t.pax, b)
	return err
}

// readGlobal reads records for all members that follow. The last of a key counts.
func (t *reader) readGlobal() error {
	b, err := t.all(maxGlobal)
	if err != nil {
		return err
	}
	records, err := parsePax(nil, b)
	if err != nil {
		return err
	}
	size := 0
	for _, r := range records {
		i := slices.IndexFunc(t.global, func(g record) bool { return g.key == r.key })
		if i >= 0 {
			t.global[i] = r
			continue
		}
		if len(t.global) == maxGlobals {
			return fmt.Errorf("global headers with more than %d keys", maxGlobals)
		}
		t.global = append(t.global, r)
	}
	for _, r := range t.global {
		size += len(r.key) + len(r.value)
	}
	if size > maxGlobal {
		return fmt.Errorf("global headers of more than %d bytes", maxGlobal)
	}
	return nil
}

func (t *reader) readLong() (*string, error) {
	b, err := t.all(maxLong)
	s := string(text(b))
	return &s, err
}

// member makes the member of the header and what came before it.
func (t *reader) member(name, link *string) (*member, error) {
	m := &member{kind: t.head.kind(), name: t.head.path(), link: string(t.head.link()), uname: string(t.head.uname()), gname: string(t.head.gname())}
	if err := m.numbers(&t.head); err != nil {
		return nil, fmt.Errorf("the member %q: %w", shortened(m.name), err)
	}
	if name != nil {
		m.name = *name
	}
	if link != nil {
		m.link = *link
	}
	for _, records := range [][]record{t.global, t.pax} {
		for _, r := range records {
			if err := m.apply(r); err != nil {
				return nil, fmt.Errorf("the member %q: %w", shortened(m.name), err)
			}
		}
	}
	if m.sparse.name != "" {
		m.name = m.sparse.name
	}
	if (m.kind == typeRegular || m.kind == typeOldRegular) && strings.HasSuffix(m.name, "/") {
		m.kind = typeDir // as before there was a type for it
	}
	if err := t.begin(m); err != nil {
		return nil, fmt.Errorf("the member %q: %w", shortened(m.name), err)
	}
	return m, nil
}

// numbers reads the fields of the header that are numbers.
func (m *member) numbers(b *block) (err error) {
	read := func(field []byte) (n int64) {
		if err == nil {
			n, err = number(field)
		}
		return n
	}
	m.mode, m.uid, m.gid = read(b.mode()), read(b.uid()), read(b.gid())
	m.stored, m.mtime.Sec = read(b.size()), read(b.mtime())
	if b.dialect() != dialectV7 && (m.kind == typeChar || m.kind == typeBlock) {
		m.major, m.minor = read(b.major()), read(b.minor())
	}
	return err
}

// begin begins the content of a member. Directories, links and the like have
// none, whatever their size says.
func (t *reader) begin(m *member) error {
	switch m.kind {
	case typeLink, typeSymlink, typeChar, typeBlock, typeDir, typeFifo:
		m.stored = 0
	}
	if err := t.content(m.stored); err != nil {
		return err
	}
	if m.kind == typeSparse {
		if err := t.readOldMap(m); err != nil {
			return err
		}
	}
	if m.sparse.is && m.sparse.inData {
		taken, err := m.sparse.readMap(t)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errSparse
		}
		if err != nil {
			return err
		}
		m.stored -= taken
	}
	switch {
	case m.sparse.size > maxSize:
		return errNumber
	case m.sparse.is:
		return m.sparse.check(m.stored)
	}
	return nil
}

// readOldMap reads the map of a sparse file of the old GNU form. The blocks with
// more runs stand before the content and do not count as such.
func (t *reader) readOldMap(m *member) (err error) {
	s := &m.sparse
	s.is = true
	if s.size, err = number(t.head.gnuRealSize()); err != nil {
		return err
	}
	if err := s.fields(t.head.gnuRuns()); err != nil {
		return err
	}
	for more := t.head.gnuMore(); more; {
		var b block
		if _, err := t.block(&b); err == io.EOF {
			return errCut
		} else if err != nil {
			return err
		}
		if err := s.fields(b.moreRuns()); err != nil {
			return err
		}
		more = b.evenMore()
	}
	return nil
}

// others are formats that are taken for tar archives, by their first bytes.
var others = []struct{ magic, what string }{
	{"\xfd7zXZ\x00", "it is compressed with xz, which is not read here: give `xz -dc FILE | vaultfs ingest tar --name NAME -` the file"},
	{"BZh", "it is compressed with bzip2, which is not read here: give `bzip2 -dc FILE | vaultfs ingest tar --name NAME -` the file"},
	{"\x04\x22\x4d\x18", "it is compressed with lz4, which is not read here: give `lz4 -dc FILE | vaultfs ingest tar --name NAME -` the file"},
	{"PK\x03\x04", "it is a zip archive: unpack it, and back up the directory with `vaultfs ingest tree`"},
	{"7z\xbc\xaf\x27\x1c", "it is a 7z archive: unpack it, and back up the directory with `vaultfs ingest tree`"},
	{"070701", "it is a cpio archive: unpack it, and back up the directory with `vaultfs ingest tree`"},
	{"VMA\x00", "it is an archive of a VM: use `vaultfs ingest vzdump`"},
	{"QFI\xfb", "it is a disk image: use `vaultfs ingest disk`"},
	{"PGDMP", "it is a dump of a PostgreSQL database: use `vaultfs ingest pg --file`"},
}

// other says of something that is not a tar archive what it is, if that is seen
// from its first bytes.
func (t *reader) other() error {
	for _, o := range others {
		if bytes.HasPrefix(t.head[:], []byte(o.magic)) {
			return fmt.Errorf("%w: %s", ErrNotTar, o.what)
		}
	}
	return ErrNotTar
}

// trailer reads what follows the end mark, up to the end, and returns where the
// first byte is that is not zero; -1 if there is none.
func (t *reader) trailer() (int64, error) {
	b := make([]byte, 64<<10)
	for at := int64(-1); ; {
		n, err := t.r.Read(b)
		for i, c := range b[:n] {
			if c != 0 && at < 0 {
				at = t.n + int64(i)
			}
		}
		t.n += int64(n)
		if err == io.EOF {
			return at, nil
		} else if err != nil {
			return at, err
		}
	}
}
