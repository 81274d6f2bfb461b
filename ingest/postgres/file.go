package postgres

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/internal/decompress"
	"vaultfs/internal/pg"
	"vaultfs/internal/pgarchive"
	"vaultfs/repo"
)

// IngestFiles backs up dumps that exist already: archives of pg_dump's custom
// format, and SQL statements of pg_dump or pg_dumpall, each plain or compressed
// with gzip, zstd or lzop. What is stored is the dump itself, not compressed
// around it. A file named pg-DB-2026-11-21_180000.* becomes a snapshot of pg/DB
// of that local time; others need a name. One that fails does not stop the
// others.
func IngestFiles(ctx context.Context, r *repo.Repo, files []string, o Options) ([]Made, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	switch {
	case len(files) == 0:
		return nil, fmt.Errorf("%w: no file given", ErrUsage)
	case o.All:
		return nil, fmt.Errorf("%w: a file and --all exclude each other", ErrUsage)
	}
	plans := make([]*plan, len(files))
	for i, f := range files {
		p, err := newPlan(f, &o)
		if err != nil {
			return nil, err
		}
		plans[i] = p
	}
	var made []Made
	var failed []error
	for _, p := range plans {
		m, err := p.ingest(ctx, r, &o)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.path, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		made = append(made, m)
	}
	return made, errors.Join(failed...)
}

// A plan says what becomes of a file.
type plan struct {
	path     string
	source   string
	database string    // as far as the names tell
	time     time.Time // zero if the file's name does not say
}

// named is how scripts that dump every night often call their files.
var named = regexp.MustCompile(`^pg-(.+)-(\d{4}-\d\d-\d\d_\d{6})\.[a-z.]+$`)

func newPlan(path string, o *Options) (*plan, error) {
	p := &plan{path: path}
	if m := named.FindStringSubmatch(filepath.Base(path)); m != nil {
		if t, err := time.ParseInLocation("2006-01-02_150405", m[2], time.Local); err == nil {
			p.database, p.time = m[1], t
		}
	}
	switch {
	case o.Name != "":
		p.source = Kind + "/" + o.Name
		p.database = cmp.Or(p.database, o.Name[strings.LastIndexByte(o.Name, '/')+1:])
	case p.database == "":
		return nil, fmt.Errorf("%w: %s does not tell in its name which database it is of, as pg-DB-2026-11-21_180000.dump does: give --name", ErrUsage, path)
	case o.Host != "":
		p.source = sourceName(o.Host, o.Port, p.database)
	default:
		p.source = Kind + "/" + component(p.database)
	}
	return p, nil
}

// A fileDump is a snapshot of a file in the making.
type fileDump struct {
	*plan
	o        *Options
	session  *repo.Session
	programs *pg.Programs
	report   pg.Report
	item     repo.Item
	known    bool
	notes    []string
}

func (p *plan) ingest(ctx context.Context, r *repo.Repo, o *Options) (made Made, err error) {
	f, before, err := openFile(p.path)
	if err != nil {
		return made, err
	}
	defer f.Close()
	plain, err := decompress.NewContext(ctx, o.Progress.Reader(f))
	if err != nil {
		return made, err
	}
	defer plain.Close()
	o.Progress.Total.Add(before.size)
	in := bufio.NewReaderSize(plain, headSize)
	d := &fileDump{plan: p, o: o}
	if err := d.look(ctx, in, before); err != nil {
		return made, err
	}
	d.session, err = r.NewSession(ctx, repo.SessionOptions{Source: p.source, Kind: Kind, Adopt: o.Adopt, Tags: o.Tags, Time: d.report.Dump.Time, Verify: o.Verify, Inspect: d.inspect})
	if err != nil {
		return made, err
	}
	defer d.session.Abort(ctx)
	if plain.Format() != decompress.Plain {
		d.notes = append(d.notes, "stored without its compression around it: "+plain.Format())
	}
	if err := d.store(ctx, in); err != nil {
		return made, err
	}
	if err := unchanged(f, p.path, before); err != nil {
		return made, err
	}
	info := repo.Info{Program: o.Program, Mode: "file", Notes: d.notes}
	info.Summary.BytesRead = before.size
	made.Snapshot, err = d.session.Commit(ctx, info)
	return made, err
}

// headSize is how much of a dump is looked at to tell what it is, in bytes.
const headSize = 8 << 10

// look tells from the first bytes what the dump is, and of when.
func (d *fileDump) look(ctx context.Context, in *bufio.Reader, f fileState) error {
	head, err := in.Peek(headSize)
	if err != nil && err != io.EOF {
		return err
	}
	d.report.Database = d.database
	dump := &d.report.Dump
	dump.File, dump.Time, dump.Item = d.path, d.time, component(d.database)
	d.report.Globals = "not part of the file"
	switch {
	case len(head) == 0:
		return errEmpty
	case bytes.HasPrefix(head, []byte(pgarchive.Magic)):
		dump.Form, dump.Item = pg.Custom, dump.Item+".dump"
		if h, err := pgarchive.ReadHead(bytes.NewReader(head)); err == nil && dump.Time.IsZero() {
			m := h.Made // the clock of whoever ran pg_dump; taken for one of our time zone
			dump.Time = time.Date(m.Year(), m.Month(), m.Day(), m.Hour(), m.Minute(), m.Second(), 0, time.Local)
		}
		if d.programs, err = pg.Newest(ctx, d.o.BinDir); err != nil {
			return err
		}
	case pg.ScriptKind(head) != "":
		dump.Form, dump.Item = pg.Script, dump.Item+".sql"
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return errors.New("this is a tar archive: dumps of pg_dump --format=tar are not taken, make one with --format=custom, or back it up with `vaultfs ingest tar`")
	default:
		return errNoScript
	}
	if dump.Time.IsZero() {
		dump.Time = f.mtime
		d.notes = append(d.notes, "the time is that of the file's last change")
	}
	return nil
}

// store stores the dump and the report.
func (d *fileDump) store(ctx context.Context, in io.Reader) error {
	var err error
	if d.report.Dump.Form == pg.Script {
		err = d.storeScript(ctx, in)
	} else {
		err = d.storeArchive(ctx, in)
	}
	if err != nil {
		return err
	}
	d.item.Path = d.path
	if err := d.session.AddItem(d.item); err != nil {
		return err
	}
	return addReport(ctx, d.session, &d.report)
}

func (d *fileDump) storeArchive(ctx context.Context, in io.Reader) (err error) {
	pass := &keepHead{r: in}
	if d.item, d.known, err = putArchive(ctx, d.session, &d.report, pass); err != nil {
		return err
	}
	if h, err := pgarchive.ReadHead(bytes.NewReader(pass.head)); err == nil {
		d.report.Database, d.report.Server.Version, d.report.Dump.Program = h.Database, h.Server, "pg_dump "+h.Program
	}
	if c := d.report.Dump.Compression; c != "none" && c != "" {
		d.notes = append(d.notes, "its data is compressed with "+c+", so that it shares little with other dumps: pg_dump --compress=0 makes dumps that do")
	}
	return nil
}

func (d *fileDump) storeScript(ctx context.Context, in io.Reader) error {
	var check scriptCheck
	root, size, err := d.session.PutStream(ctx, io.TeeReader(in, &check))
	if err != nil {
		return err
	}
	if _, err := check.end(); err != nil {
		return err
	}
	server, program := check.versions()
	d.report.Server.Version, d.report.Dump.Size = server, size
	if program != "" {
		d.report.Dump.Program = "pg_dump " + program
	}
	d.item = repo.Item{Name: d.report.Dump.Item, Kind: repo.ItemFile, Size: size, Root: root}
	d.item.Format = pg.Script
	return nil
}

// inspect reads what was stored: pg_restore an archive, and of statements the end
// must be there.
func (d *fileDump) inspect(ctx context.Context, open func(repo.Item) (*repo.File, error)) error {
	if d.report.Dump.Form == pg.Custom {
		return readBack(ctx, d.programs, d.item, d.known, open)
	}
	f, err := open(d.item)
	if err != nil {
		return err
	}
	var check scriptCheck
	for _, at := range []int64{0, max(0, f.Size()-edge)} {
		if _, err := io.Copy(&check, io.NewSectionReader(f, at, edge)); err != nil {
			return err
		}
	}
	_, err = check.end()
	return err
}

// keepHead keeps the first bytes of what is read through it.
type keepHead struct {
	r    io.Reader
	head []byte
}

func (k *keepHead) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if room := headSize - len(k.head); room > 0 {
		k.head = append(k.head, p[:min(room, n)]...)
	}
	return n, err
}

// A fileState is what changes when somebody writes to a file.
type fileState struct {
	dev, ino, size int64
	mtime, ctime   time.Time
}

// openFile opens a dump. It does not wait for a pipe's other end.
func openFile(path string) (*os.File, fileState, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileState{}, bare(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = errors.New("this is a directory: dumps of pg_dump --format=directory are not taken as databases, make one with --format=custom, or back it up with `vaultfs ingest tree`")
	case !info.Mode().IsRegular():
		err = errors.New("this is no regular file")
	}
	var s fileState
	if err == nil {
		s, err = state(info)
	}
	if err != nil {
		f.Close()
		return nil, s, err
	}
	return f, s, nil
}

func state(info os.FileInfo) (s fileState, err error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return s, errors.New("the system does not tell the file's times")
	}
	return fileState{int64(st.Dev), int64(st.Ino), info.Size(), info.ModTime(), time.Unix(st.Ctim.Unix())}, nil
}

// unchanged fails if a file, or what its path names now, is not what was opened.
func unchanged(f *os.File, path string, before fileState) error {
	named, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("it was removed or moved while it was being read (%w): start again with the file where it is", bare(err))
	}
	held, err := f.Stat()
	if err != nil {
		return bare(err)
	}
	for _, info := range []os.FileInfo{named, held} {
		now, err := state(info)
		if err != nil {
			return err
		}
		if now != before {
			return errors.New("the file changed while it was being read: start again when pg_dump has finished it")
		}
	}
	return nil
}

// bare is an error without the path, which is named already.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
