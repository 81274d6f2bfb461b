package stdin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// Kind is the kind of the sources made here; their names begin with it.
const Kind = "stdin"

// Errors that callers tell apart, with errors.Is.
var (
	ErrUsage = errors.New("wrong usage")
	ErrEmpty = errors.New("nothing came: there is nothing to back up; if that is right, give --allow-empty")
)

// Options says where the stream comes from and what becomes of it.
type Options struct {
	Name       string    // the source is stdin/Name
	FileName   string    // of the item; "" is the last part of Name
	AllowEmpty bool      // a stream without a byte is a backup, too
	Command    []string  // a program and its arguments, whose output is read instead of Stdin
	Verify     bool      // read back what was written before the commit
	Adopt      bool      // see repo.SessionOptions
	Tags       []string  // a person's words for each snapshot
	Program    string    // and version, for the snapshot
	Stdin      io.Reader // of the command as well; nil for none
	Stderr     io.Writer // takes what the command prints there; nil for nowhere
	Progress   *ingest.Progress
}

// Made is a snapshot that was made of a stream.
type Made struct{ Snapshot *repo.Snapshot }

// Ingest backs up a stream as a snapshot with one file. It is committed when the
// stream has ended without an error and its command, if there is one, has exited
// with status 0.
func Ingest(ctx context.Context, r *repo.Repo, o Options) (Made, error) {
	if err := o.complete(); err != nil {
		return Made{}, err
	}
	session, err := r.NewSession(ctx, repo.SessionOptions{Source: Kind + "/" + o.Name, Kind: Kind, Adopt: o.Adopt, Tags: o.Tags, Verify: o.Verify})
	if err != nil {
		return Made{}, err
	}
	defer session.Abort(ctx)
	it, err := o.store(ctx, session)
	if err != nil {
		return Made{}, err
	}
	if it.Size == 0 && !o.AllowEmpty {
		return Made{}, fmt.Errorf("%s: %w", o.what(), ErrEmpty)
	}
	if err := session.AddItem(it); err != nil {
		return Made{}, err
	}
	info := repo.Info{Program: o.Program, Mode: Kind}
	if len(o.Command) > 0 {
		info.Notes = append(info.Notes, "the output of "+ingest.Printable(strings.Join(o.Command, " ")))
	}
	info.Summary.BytesRead = it.Size
	snapshot, err := session.Commit(ctx, info)
	return Made{snapshot}, err
}

// complete fills in what may be left out and refuses what makes no sense.
func (o *Options) complete() error {
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if o.FileName == "" {
		o.FileName = filepath.Base(o.Name)
	}
	switch {
	case o.Name == "":
		return fmt.Errorf("%w: a stream needs a name: give --name", ErrUsage)
	case ingest.Unfit(o.Name) != "":
		return fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, ingest.Unfit(o.Name))
	case ingest.Unfit(o.FileName) != "":
		return fmt.Errorf("%w: file name %q %s", ErrUsage, o.FileName, ingest.Unfit(o.FileName))
	case strings.Contains(o.FileName, "/") || o.FileName == "." || o.FileName == "..":
		return fmt.Errorf("%w: file name %q is none: give one without a directory", ErrUsage, o.FileName)
	case len(o.Command) == 0 && o.Stdin == nil:
		return fmt.Errorf("%w: no standard input", ErrUsage)
	}
	return nil
}

// what names the stream in errors.
func (o *Options) what() string {
	if len(o.Command) > 0 {
		return fmt.Sprintf("the output of %q", o.Command[0])
	}
	return "standard input"
}

// store stores the stream.
func (o *Options) store(ctx context.Context, session *repo.Session) (repo.Item, error) {
	if len(o.Command) > 0 {
		return o.storeCommand(ctx, session)
	}
	return o.storeStream(ctx, session, o.Stdin)
}

func (o *Options) storeStream(ctx context.Context, session *repo.Session, r io.Reader) (repo.Item, error) {
	in := newReader(ctx, r, o.Progress)
	root, size, err := session.PutStream(ctx, in)
	if in.failed != nil {
		err = fmt.Errorf("reading %s failed after %d bytes: %w", o.what(), size, in.failed)
	}
	return repo.Item{Name: o.FileName, Kind: repo.ItemFile, Size: size, Root: root}, err
}
