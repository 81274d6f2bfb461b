package tree

import (
	"errors"
	"fmt"

	"vaultfs/repo"
	"vaultfs/restore"
)

// Overwrite says what becomes of files that exist at the destination.
type Overwrite string

// What becomes of what exists. Directories stay, with what the snapshot does
// not hold; but with Never they keep their attributes, else they get those of
// the snapshot.
const (
	// Refuse refuses a destination that is not empty.
	Refuse Overwrite = ""
	// Never leaves what exists as it is and adds what is missing.
	Never Overwrite = "never"
	// IfNewer replaces what was last modified before the snapshot's was.
	IfNewer Overwrite = "if-newer"
	// Always replaces everything that the snapshot holds, the same or not:
	// afterwards it is exactly as in the snapshot.
	Always Overwrite = "always"
)

// ErrUsage is that of options that make no sense.
var ErrUsage = errors.New("wrong usage")

// Options says how a tree is restored.
type Options struct {
	Overwrite Overwrite
	// Delete removes what the snapshot does not hold, with IfNewer and Always.
	// It does not go into file systems that are mounted below the destination.
	Delete bool
	// DryRun finds out what would be done and changes nothing.
	DryRun bool
	// NoFollow refuses a destination that is a symbolic link, as one that nobody
	// has named may be. One that leads to a directory is followed otherwise.
	NoFollow bool
	Progress *restore.Progress // counts the bytes of files, holes and links included; may be nil
	// Each is told what was done, or with DryRun what would be, once for every
	// path; calls do not overlap. It may be nil.
	Each func(Action, string)
}

// An Action is what was done with a path.
type Action string

// The actions.
const (
	Create  Action = "create"
	Replace Action = "replace"
	Keep    Action = "keep" // what exists, because of Never or IfNewer
	Remove  Action = "remove"
)

func (o *Options) complete(from *repo.Entry) error {
	if o.Progress == nil {
		o.Progress = new(restore.Progress)
	}
	switch o.Overwrite {
	case Refuse, Never, IfNewer, Always:
	default:
		return fmt.Errorf("%w: overwrite %q: want %s, %s or %s", ErrUsage, o.Overwrite, Never, IfNewer, Always)
	}
	switch {
	case o.Delete && !from.IsDir():
		return fmt.Errorf("%w: removing what the snapshot does not hold is for directories, and %q is none", ErrUsage, from.Name)
	case o.Delete && o.Overwrite != IfNewer && o.Overwrite != Always:
		return fmt.Errorf("%w: removing what the snapshot does not hold needs overwriting %s or %s", ErrUsage, IfNewer, Always)
	}
	return nil
}
