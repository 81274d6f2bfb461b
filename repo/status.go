package repo

import (
	"context"
	"errors"
	"time"
)

// A Status is the state of a repository at one moment. Sizes are in bytes.
type Status struct {
	Sources  []SourceStatus
	Sessions []SessionInfo

	Logical  int64 // sizes of all items of all snapshots
	Unique   int64 // of different chunks, as they are read
	Stored   int64 // of those chunks, as they are stored
	Packs    PackCount
	Total    int64 // of all files of the repository
	Free     int64 // of the file system, for this user
	Capacity int64 // of the file system

	Forgotten  int       // snapshots that wait for gc
	Condemned  PackCount // that wait for the end of sessions
	Damaged    []string  // packs in which damage was found
	Quarantine PackCount // set aside by repair
	OldestRead time.Time // the time at which the pack was read that was not read for longest; zero if one never was
	NeverRead  PackCount
	Problems   []error // what could not be looked at
}

// A SourceStatus is what there is of a source.
type SourceStatus struct {
	Source    string
	Kind      string
	Newest    *Snapshot
	Snapshots int
	Size      int64     // of the newest snapshot's items
	Stored    int64     // what its snapshots have added to the repository
	Verified  time.Time // when the newest was proved; zero if it never was
	Warnings  []string  // what is overdue, in sentences
}

// Status looks at the repository. now is what ages are counted from.
func (r *Repo) Status(ctx context.Context, now time.Time) (*Status, error) {
	return nil, errors.New("not there yet")
}
