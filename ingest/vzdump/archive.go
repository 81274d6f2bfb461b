package vzdump

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"vaultfs/ingest"
	"vaultfs/internal/decompress"
	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// An archive is one that is to be backed up.
type archive struct {
	path  string // as it was given; Stream
	title title  // what its name says
}

// String names the archive in errors.
func (a *archive) String() string {
	if a.path == Stream {
		return "standard input"
	}
	return fmt.Sprintf("archive %q", a.path)
}

// source is the source that a snapshot of the archive is of; "" if nothing tells.
func (a *archive) source(o *Options) string {
	switch {
	case o.Name != "":
		return Kind + "/" + o.Name
	case a.title.vmid != "":
		return Kind + "/" + a.title.vmid
	}
	return ""
}

// brokenError is an error of what an archive holds.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

func broken(err error) error { return brokenError{err} }

// ingest makes a snapshot of the archive.
func (a *archive) ingest(ctx context.Context, r *repo.Repo, o *Options) (Made, error) {
	g := &ingestion{archive: a, options: o, repo: r, input: o.Stdin}
	if a.path != Stream {
		f, err := openFile(a.path)
		if err != nil {
			return Made{}, err
		}
		defer f.Close()
		g.file, g.input = f, f
	}
	made, err := g.run(ctx)
	if err == nil || g.file == nil {
		return made, err
	}
	if changed := g.file.Unchanged(); changed != nil && !errors.Is(err, ErrChanged) {
		return made, fmt.Errorf("%w (%w)", changed, err)
	}
	if _, ok := errors.AsType[brokenError](err); ok {
		return made, fmt.Errorf("%w%s", err, cmp.Or(g.file.fresh(), ": if there is another copy of the archive, try that"))
	}
	return made, err
}

// An ingestion is the making of one snapshot.
type ingestion struct {
	*archive
	options *Options
	repo    *repo.Repo
	file    *file // nil for a stream
	input   io.Reader
	read    int64  // bytes of input
	packed  string // how it is compressed: "zst", "gz", "lzo", ""

	session     *repo.Session
	description vma.Description
	items       map[string]bool // names that are taken
	warnings    []string
}

// run tells by the first bytes what the archive is, and stores it.
func (g *ingestion) run(ctx context.Context) (Made, error) {
	plain, err := decompress.NewContext(ctx, countingReader{g.input, func(n int64) {
		g.read += n
		g.options.Progress.Read.Add(n)
		g.options.Progress.Done.Add(n)
	}})
	if err != nil {
		return Made{}, err
	}
	defer plain.Close()
	g.packed = plain.Format()
	g.items = map[string]bool{vma.DescriptionItem: true, notesItem: true, logItem: true}
	in := bufio.NewReaderSize(plain, headSize)
	head, err := in.Peek(headSize)
	if err != nil && err != io.EOF {
		return Made{}, broken(err)
	}
	store := g.storeVM
	if g.isContainer(head) {
		store = g.storeContainer
	}
	defer func() {
		if g.session != nil {
			_ = g.session.Abort(ctx) // what matters was an error before, or it is committed
		}
	}()
	if err := store(ctx, in); err != nil {
		return Made{}, err
	}
	s, err := g.commit(ctx)
	return Made{s, g.warnings}, err
}

// headSize is how much tells a tar archive: its first header, in bytes.
const headSize = 512

// isContainer tells a tar archive. What is neither that nor a VMA is taken for
// what the name says, whose reader then says what is wrong.
func (g *ingestion) isContainer(head []byte) bool {
	switch {
	case bytes.HasPrefix(head, []byte("VMA\x00")):
		return false
	case len(head) == headSize && bytes.Equal(head[257:262], []byte("ustar")):
		return true
	}
	return g.title.guest == guestContainer || strings.HasPrefix(filepath.Ext(plainName(g.path, "")), ".tar")
}

// open begins the session, when it is known what the archive is of.
func (g *ingestion) open(ctx context.Context, guest, machine string, when time.Time) (err error) {
	if t := g.title; t.guest != "" && t.guest != guest {
		return broken(fmt.Errorf("its name says that it is of %s, what it holds is of %s", guestNames[t.guest], guestNames[guest]))
	}
	if !g.title.time.IsZero() {
		when = g.title.time
	}
	o := repo.SessionOptions{Source: g.source(g.options), Kind: Kind, Machine: machine, Adopt: g.options.Adopt, Tags: g.options.Tags, Time: when, Verify: g.options.Verify}
	if g.session, err = g.repo.NewSession(ctx, o); err != nil {
		return err
	}
	g.description.VMID = g.title.vmid
	if p := g.session.Previous(); p != nil && !when.IsZero() && when.Before(p.Time) {
		g.tell(fmt.Sprintf("it is older than snapshot %s of %s, of %s, which is already there: as the last one that was made, %s@latest is now this one",
			p.Short(), p.Source, p.Time.Local().Format(time.DateTime), p.Source))
	}
	return nil
}

var guestNames = map[string]string{guestVM: "a virtual machine", guestContainer: "a container"}

// tell notes what a person should know at once, too.
func (g *ingestion) tell(text string) {
	g.session.Note(text)
	g.options.Warn(fmt.Sprintf("%v: %s", g.archive, text))
}

// leaveOut notes that something is not in the snapshot.
func (g *ingestion) leaveOut(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	g.session.Note(text)
	g.warnings = append(g.warnings, fmt.Sprintf("%v: %s", g.archive, text))
}

// itemName is a name for an item that no other has: the one in the archive, with
// a number if need be.
func (g *ingestion) itemName(want string) string {
	name := want
	for n := 2; g.items[name]; n++ {
		name = fmt.Sprintf("%s-%d", want, n)
	}
	g.items[name] = true
	return name
}

// origin is where an item came from.
func (g *ingestion) origin(format string) repo.Origin {
	o := repo.Origin{Path: Stream, Format: format}
	if g.file != nil {
		o.Path = ingest.Printable(g.file.Path)
	}
	if g.packed != "" {
		o.Format += "." + g.packed
	}
	return o
}

// addFile makes a file of the archive, or of beside it, an item.
func (g *ingestion) addFile(ctx context.Context, name string, content io.Reader, o repo.Origin, checkpoint string) error {
	root, size, err := g.session.PutStream(ctx, content)
	if err != nil {
		return fmt.Errorf("storing %s: %w", name, err)
	}
	return g.session.AddItem(repo.Item{Name: name, Kind: repo.ItemFile, Size: size, Root: root, Origin: o, Checkpoint: checkpoint})
}

// Names of items that hold what vzdump has written beside the archive.
const (
	notesItem = "notes"
	logItem   = "vzdump.log"
)

// addBeside keeps the notes that a person has made of the archive and the log of
// its making.
func (g *ingestion) addBeside(ctx context.Context) error {
	if g.file == nil || g.title.base == "" {
		return nil
	}
	for name, path := range map[string]string{
		notesItem: g.file.Path + ".notes",
		logItem:   filepath.Join(filepath.Dir(g.file.Path), g.title.base+".log"),
	} {
		f, err := openBeside(path)
		if err != nil {
			g.leaveOut("%s is left out: %v", path, err)
			continue
		}
		if f == nil {
			continue
		}
		err = g.addFile(ctx, name, io.LimitReader(f, maxBeside), repo.Origin{Path: ingest.Printable(path)}, "")
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// commit stores the description and makes the snapshot, if the archive is still
// what it was when it was opened.
func (g *ingestion) commit(ctx context.Context) (*repo.Snapshot, error) {
	if err := g.addBeside(ctx); err != nil {
		return nil, err
	}
	b, err := g.description.Encode()
	if err != nil {
		return nil, broken(err)
	}
	info, identity := repo.Info{Program: g.options.Program, Mode: "stream"}, ""
	if g.file != nil {
		info.Mode, identity = "file", g.file.identity()
	}
	if err := g.addFile(ctx, vma.DescriptionItem, bytes.NewReader(b), repo.Origin{}, identity); err != nil {
		return nil, err
	}
	if g.file != nil {
		if err := g.file.Unchanged(); err != nil {
			return nil, err
		}
	}
	info.Summary.BytesRead = g.read
	return g.session.Commit(ctx, info)
}
