package repo

import (
	"context"
	"time"

	"vaultfs/repo/index"
)

// StatusOptions says what to look at.
type StatusOptions struct {
	Now time.Time // what ages are counted from; zero for this moment
	// NoSums leaves out Status.Sums, for which the whole index is read.
	NoSums bool
}

// A Status is the state of a repository at one moment. Sizes are in bytes.
type Status struct {
	Now      time.Time
	Sources  []SourceStatus // by name
	Sessions []SessionInfo  // at work, or dead

	Snapshots int
	Logical   int64      // sizes of all items of all snapshots, holes and all
	Sums      *ChunkSums // nil if it was not asked for
	Packs     PackCount  // that the index lists and that are there
	Total     int64      // of all files of the repository
	Free      int64      // of the file system, for this user
	Capacity  int64      // of the file system

	Forgotten    ForgottenStatus
	Condemned    PackCount     // that collectors will remove
	CondemnedFor []SessionInfo // for whose end that waits; the next collection does it if there is nobody
	Unlisted     PackCount     // left by sessions that died: the next collection removes them
	Quarantine   PackCount     // files set aside by repair
	Reading      ReadStatus

	Damaged []string // packs in which damage was found: "pack 3f2a…"
	Missing []string // packs that the index lists and that are gone or cut off
	// Problems are what could not be read: snapshots, marks, the policy, the
	// ledger. What they say is missing in the rest.
	Problems []error
}

// ChunkSums are the sizes of all different chunks that the index lists.
type ChunkSums struct {
	Chunks int64
	Unique int64 // bytes, as they are read
	Stored int64 // bytes, as they are stored
}

// A ForgottenStatus is what waits for a collection because it was forgotten.
type ForgottenStatus struct {
	Snapshots int
	Added     int64     // bytes that they had added to the repository when they were made
	Oldest    time.Time // when the first of them was forgotten
}

// A ReadStatus tells when packs were last read as a whole: by verify, or by the
// ingest that wrote them.
type ReadStatus struct {
	Oldest time.Time // of the pack that was not read for longest, of those that were; zero if none was
	Never  PackCount // of which nobody knows that they were ever read
	// Overdue were not read, or are there unread, for longer than the policy
	// allows, which is Limit; 0 for no limit.
	Overdue PackCount
	Limit   time.Duration
	Future  int // packs that are said to have been read in the future
}

// A SourceStatus is what there is of a source.
type SourceStatus struct {
	Source    string
	Kind      string
	Newest    *Snapshot // by the sequence number
	Snapshots int
	Size      int64 // of the newest snapshot's items
	Stored    int64 // what its snapshots have added to the repository when they were made

	Verified  time.Time // when the newest was proved; zero if it never was: see Ledger.Verified
	ReadWhole time.Time // when verify has read all that the newest needs
	Unread    bool      // that is longer ago than the policy allows, which is MaxUnread
	MaxUnread time.Duration

	Age    time.Duration // of the newest that is not from the future; 0 if all are
	Late   bool          // that is more than it should be: than MaxAge, or than is usual
	MaxAge time.Duration // of the policy; 0 if it does not say
	Usual  time.Duration // median time between the last of its snapshots; 0 if there are too few
	Future []*Snapshot   // that say that they were made in the future
	Lost   []*Snapshot   // in which verify has found damage
}

// Status looks at the repository. It changes nothing, and reads neither packs
// nor, with NoSums, the entries of the index.
func (r *Repo) Status(ctx context.Context, o StatusOptions) (*Status, error) {
	if o.Now.IsZero() {
		o.Now = wallClock()
	}
	l := &look{repo: r, status: &Status{Now: o.Now}, now: o.Now}
	for _, part := range []func(context.Context) error{
		l.sessions, l.sources, l.packs, l.files, l.forgotten, l.space,
	} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	l.reading()
	if o.NoSums {
		return l.status, nil
	}
	return l.status, l.sums(ctx)
}

// sums adds up the chunks.
func (l *look) sums(ctx context.Context) error {
	view, err := l.repo.index.View()
	if err != nil {
		return err
	}
	defer view.Close()
	sums := new(ChunkSums)
	err = view.Chunks(func(places []index.Entry) error {
		sums.Chunks++
		sums.Unique += int64(places[0].Plain)
		sums.Stored += int64(places[0].Sealed)
		if sums.Chunks%1024 == 0 {
			return ctx.Err()
		}
		return nil
	})
	l.status.Sums = sums
	return err
}
