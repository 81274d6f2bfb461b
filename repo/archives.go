package repo

import (
	"context"
	"time"

	"vaultfs/repo/format"
)

// archiveMemory is how long it is known that an archive's snapshot was forgotten.
// A directory of archives is read by cron, which must not bring them back; but
// marks must not become more and more for ever.
const archiveMemory = 366 * 24 * time.Hour

// A ForgottenArchive is what a forgotten snapshot was made from.
type ForgottenArchive struct {
	Snapshot string // its ID, 32 hex digits
	Source   string // "vzdump/101"
	Archive  string // the checkpoint of the file item that named it
	Time     time.Time
}

// ForgottenArchives lists the archives whose snapshots were forgotten, for about a
// year after that, whether they are collected or not. Marks that cannot be read
// name none, and the error says so; the list is good all the same.
func (r *Repo) ForgottenArchives(ctx context.Context) ([]ForgottenArchive, error) {
	ids, err := r.listIDs(ctx, "forgotten/")
	if err != nil {
		return nil, err
	}
	var list []ForgottenArchive
	var unread error
	for _, id := range ids {
		m, err := r.mark(ctx, id)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			unread = err
		case m != nil && m.Archive != "":
			list = append(list, ForgottenArchive{id.String(), m.Source, m.Archive, time.Unix(m.Time, 0)})
		}
	}
	return list, unread
}

// maxArchive bounds what a mark says of an archive, in bytes.
const maxArchive = 4 << 10

// archive is the checkpoint of the file that says what archive the snapshot was
// made from, or "". Checkpoints of disks are something else.
func (s *Snapshot) archive() string {
	for _, it := range s.Items {
		if it.Kind == ItemFile && it.Checkpoint != "" && len(it.Checkpoint) <= maxArchive {
			return it.Checkpoint
		}
	}
	return ""
}

// remembers tells whether a mark stays when nothing else needs it. One whose time
// is in the future stays: the clock may be wrong that says so.
func remembers(m *format.Mark) bool {
	return m.Archive != "" && wallClock().Sub(time.Unix(m.Time, 0)) < archiveMemory
}
