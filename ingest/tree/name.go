package tree

import (
	"os"
	"path/filepath"
	"time"

	"vaultfs/ingest"
)

// Kind is the kind of the sources made here, KindRsync that of directories that
// rsync has made. The names of the sources begin with it.
const (
	Kind      = "tree"
	KindRsync = "rsync"
)

// A title is what the name of a directory says.
type title struct {
	kind, name string
	time       time.Time // zero: now
	dated      bool      // one of a row of directories, a backup each
}

// titleOf is what the absolute path of a directory says.
func titleOf(path string) title {
	base := filepath.Base(path)
	if name, when, ok := ingest.Dated("rsync-", base); ok { // a script makes one each day
		return title{KindRsync, ingest.SourceName(name), when, true}
	}
	if base == "/" {
		host, err := os.Hostname()
		if base = host; err != nil || host == "" {
			base = "root"
		}
	}
	return title{kind: Kind, name: ingest.SourceName(base)}
}
