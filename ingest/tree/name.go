package tree

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

// dated is the name of a directory that a script made with rsync, one each day.
var dated = regexp.MustCompile(`^rsync-(.+)-(\d{4}-\d\d-\d\d|\d{8})(?:[T_-]?(\d\d)[:-]?(\d\d)(?:[:-]?(\d\d))?)?$`)

// titleOf is what the absolute path of a directory says.
func titleOf(path string) title {
	base := filepath.Base(path)
	if m := dated.FindStringSubmatch(base); m != nil {
		clock := m[3] + m[4] + m[5]
		when, err := time.ParseInLocation("20060102150405", strings.ReplaceAll(m[2], "-", "")+clock+"000000"[len(clock):], time.Local)
		if err == nil {
			return title{KindRsync, ingest.SourceName(m[1]), when, true}
		}
	}
	if base == "/" {
		host, err := os.Hostname()
		if base = host; err != nil || host == "" {
			base = "root"
		}
	}
	return title{kind: Kind, name: ingest.SourceName(base)}
}
