package tar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// Errors that callers tell apart, with errors.Is.
var (
	ErrUsage   = errors.New("wrong usage")
	ErrEmpty   = errors.New("it is empty: there is nothing to back up")
	ErrNotTar  = errors.New("it is not a tar archive")
	ErrChanged = ingest.ErrChanged
)

// StoreOptions says how an archive is stored.
type StoreOptions struct {
	// Time is given to directories that the archive has no member for.
	Time time.Time
	// Look has functions that are given the content of members, by their names
	// without "./": "etc/vzdump/pct.conf". Members of more than LookMax bytes,
	// and those that are no regular files, are not looked at. An error ends the
	// storing.
	Look map[string]func(content []byte) error
	// Path is where the archive is, for the item.
	Path string
}

// LookMax bounds what a function of StoreOptions.Look is given, in bytes.
const LookMax = smallFile

// A Report tells what came of an archive.
type Report struct {
	Members  int64    // of the archive
	Bytes    int64    // of data of files in it; holes do not count
	Warnings []string // what was left out or changed
	Notes    []string // what else a person may want to know
}

// Store stores a tar archive, which is not compressed, as a tree and makes it an
// item of the session. r is read to its end. The content of a file becomes what it
// would become if the tree were backed up that the archive was made of. Errors say
// "it" of the archive.
func Store(ctx context.Context, session *repo.Session, r io.Reader, item string, o StoreOptions) (repo.Item, *Report, error) {
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	implied := &repo.Entry{Mode: modeDir | 0o755, Mtime: repo.Timestamp{Sec: o.Time.Unix()}}
	s := &storing{
		ctx: ctx, session: session, options: &o, reader: &reader{r: r}, files: session.NewFileWriter(), contents: newContents(ctx, session),
		catalog: newCatalog(implied), names: newNames(), implied: implied,
	}
	err := s.members()
	if err == ErrNotTar {
		err = s.reader.other()
	}
	if stored := s.contents.wait(); stored != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = stored
	}
	if err != nil {
		return repo.Item{}, nil, err
	}
	root, err := s.finish()
	if err != nil {
		return repo.Item{}, nil, err
	}
	report := s.report // a copy: the rest is much, and needed no more
	report.Warnings = append(report.Warnings, s.unsaid()...)
	it, err := session.PutTree(ctx, root)
	if err != nil {
		return it, nil, err
	}
	it.Name, it.Path = item, o.Path
	return it, &report, session.AddItem(it)
}

// storing is one call of Store.
type storing struct {
	ctx      context.Context
	session  *repo.Session
	options  *StoreOptions
	reader   *reader
	files    *repo.FileWriter
	contents *contents
	catalog  *catalog
	names    names
	implied  *repo.Entry // a directory that the archive has no member for
	inodes   uint32      // numbers given to files with several names
	implicit int64       // directories without a member
	told     int         // warnings, also those that are only counted
	absolute bool
	dumpdir  bool
	labelled bool
	report   Report
}

// maxWarnings is how many warnings are told one by one.
const maxWarnings = 200

// warn tells what is not as in the archive. Strings in it are shortened.
func (s *storing) warn(format string, args ...any) {
	if s.told++; s.told > maxWarnings {
		return
	}
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = shortened(text)
		}
	}
	s.report.Warnings = append(s.report.Warnings, fmt.Sprintf(format, args...))
}

// shortened keeps a message readable whatever an archive has for names.
func shortened(s string) string {
	const most = 1 << 10 // bytes
	if len(s) <= most {
		return s
	}
	return s[:most/2] + "…" + s[len(s)-most/2:]
}

// unsaid counts the warnings that were too many.
func (s *storing) unsaid() []string {
	if s.told <= maxWarnings {
		return nil
	}
	return []string{fmt.Sprintf("and %d more of the like", s.told-maxWarnings)}
}

// members reads the archive to its end.
func (s *storing) members() error {
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		m, err := s.reader.next()
		if err == io.EOF {
			return s.end()
		}
		if err != nil {
			return err
		}
		s.report.Members++
		if err := s.take(m); err != nil {
			return fmt.Errorf("the member %q: %w", shortened(m.name), err)
		}
	}
}

// end looks at what follows the archive.
func (s *storing) end() error {
	if s.report.Members == 0 {
		return fmt.Errorf("%w: it has no members", ErrEmpty)
	}
	switch at, err := s.reader.trailer(); {
	case err != nil:
		return err
	case at >= 0:
		s.warn("something follows the end of the archive, at byte %d, and is left out: if it is a second archive, unpack them with `tar --ignore-zeros` and pack the result", at)
	}
	return nil
}

// take stores a member.
func (s *storing) take(m *member) error {
	if m.kind == typeVolume {
		if !s.labelled {
			s.labelled = true
			s.report.Notes = append(s.report.Notes, fmt.Sprintf("the archive's label is %q", shortened(m.name)))
		}
		return nil
	}
	s.remark(m)
	parts, err := split(m.name)
	if err != nil {
		s.warn("%q is left out: %v", m.name, err)
		return nil
	}
	if m.kind == typeLink {
		s.link(m, parts)
		return nil
	}
	e, err := s.entry(m)
	if err != nil {
		s.warn("%q is left out: %v", m.name, err)
		return nil
	}
	if err := s.xattrs(m, e); err != nil {
		return err
	}
	if len(parts) == 0 {
		s.root(m, e)
		return nil
	}
	return s.file(m, e, parts)
}

// remark notes once what is odd about names and types.
func (s *storing) remark(m *member) {
	if !s.absolute && len(m.name) > 0 && m.name[0] == '/' {
		s.absolute = true
		s.report.Notes = append(s.report.Notes, "names in the archive begin with /: they are taken to begin in the tree")
	}
	if !s.dumpdir && (m.dumpdir || m.kind == typeDumpdir) {
		s.dumpdir = true
		s.report.Notes = append(s.report.Notes, "the archive is one of `tar --listed-incremental`: its members are kept, not which files were removed since the one before")
	}
	if _, known := modeTypes[m.kind]; !known && m.kind != typeRegular && m.kind != typeOldRegular && m.kind != typeContiguous &&
		m.kind != typeSparse && m.kind != typeLink {
		s.warn("%q has the type %q, which is not known: it is taken for a regular file", m.name, m.kind)
	}
}

// root takes the member of the tree itself.
func (s *storing) root(m *member, e *repo.Entry) {
	if e.Mode&modeType != modeDir {
		s.warn("%q is left out: it is the tree itself, and no directory", m.name)
		return
	}
	s.catalog.nodes[0].body, s.catalog.nodes[0].flags = s.catalog.arena.put(appendBody(nil, e)), isDir|hasChild
}

// file takes a member that is no hard link. Its content is read before its path
// is taken, so that a member that is cut off takes nothing.
func (s *storing) file(m *member, e *repo.Entry, parts []string) error {
	var content []byte
	if e.Mode&modeType == modeRegular {
		var err error
		if content, err = s.content(m, e); err != nil {
			return err
		}
		if look := s.options.Look[clean(parts)]; look != nil && content != nil {
			if err := look(content); err != nil {
				return err
			}
		}
	}
	parent := s.parent(m, parts)
	var flags uint8
	switch e.Mode & modeType {
	case modeDir:
		flags = isDir
	case modeSymlink:
		flags = isLink
	}
	body := s.catalog.arena.put(appendBody(nil, e))
	if s.catalog.set(parent, parts[len(parts)-1], body, flags) {
		s.warn("%q replaces a directory of that name, which was not empty: what was in it is left out", m.name)
	}
	if content == nil {
		return nil
	}
	return s.contents.put(content, s.catalog.arena.at(body)[:bodyRest])
}

// content stores the content of a large or sparse file, and reads that of a small
// one.
func (s *storing) content(m *member, e *repo.Entry) (content []byte, err error) {
	e.Content.Size = m.size()
	e.Blocks = blocks(m.stored)
	s.report.Bytes += m.stored
	switch {
	case m.sparse.is && m.stored < m.size():
		runs := storable(m.sparse.runs, repo.MaxRanges)
		var data int64
		for _, r := range runs {
			data += r.Len
		}
		if data-m.stored > maxFill {
			return nil, fmt.Errorf("it has %d runs of data, which lie too far from one another to be stored as at most %d", len(m.sparse.runs), repo.MaxRanges)
		}
		e.Blocks = blocks(data)
		e.Content, err = s.files.PutSparse(s.ctx, newFiller(s.reader, m.sparse.runs, runs), m.size(), runs)
	case m.stored == 0:
	case m.stored <= smallFile:
		content, err = s.contents.read(s.reader, m.stored)
	default:
		e.Content, err = s.files.Put(s.ctx, s.reader)
	}
	if err == nil && e.Content.Size != m.size() {
		err = errCut
	}
	return content, err
}

// blocks is st_blocks of a file with so much data: whole blocks of 4 KiB, as
// most file systems have them.
func blocks(data int64) uint64 { return uint64(data+4095) / 4096 * 8 }

// parent is the directory that a path lies in. Those that are missing are made;
// they may get a member later.
func (s *storing) parent(m *member, parts []string) uint32 {
	dir := uint32(0)
	for _, part := range parts[:len(parts)-1] {
		i, ok := s.catalog.find(dir, part)
		if ok && s.catalog.nodes[i].flags&isDir != 0 {
			dir = i
			continue
		}
		if ok {
			what := "a file"
			if s.catalog.nodes[i].flags&isLink != 0 {
				what = "a symbolic link"
			}
			s.warn("%q lies below %s of the archive, which is left out: a directory takes its place", m.name, what)
			s.catalog.remove(i)
		}
		dir = s.catalog.add(dir, part, s.catalog.arena.put(appendBody(nil, s.implied)), isDir|implied)
	}
	return dir
}

// link takes a hard link.
func (s *storing) link(m *member, parts []string) {
	target, err := split(m.link)
	if err != nil || len(parts) == 0 || len(target) == 0 {
		s.warn("%q is left out: it is a hard link to %q, which cannot be in the archive", m.name, m.link)
		return
	}
	to, ok := s.lookup(target)
	if !ok || s.catalog.nodes[to].flags&isDir != 0 {
		s.warn("%q is left out: it is a hard link to %q, which is no file before it in the archive", m.name, m.link)
		return
	}
	n := s.catalog.nodes[to]
	if s.catalog.set(s.parent(m, parts), parts[len(parts)-1], n.body, n.flags&isLink) {
		s.warn("%q replaces a directory of that name, which was not empty: what was in it is left out", m.name)
	}
}

// lookup finds a path.
func (s *storing) lookup(parts []string) (uint32, bool) {
	at := uint32(0)
	for _, part := range parts {
		i, ok := s.catalog.find(at, part)
		if !ok {
			return 0, false
		}
		at = i
	}
	return at, true
}
