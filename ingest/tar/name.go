package tar

import (
	"path/filepath"
	"strings"
	"time"

	"vaultfs/ingest"
)

// Kind is the kind of the sources made here, KindVolume that of archives of
// docker volumes. The names of the sources begin with it.
const (
	Kind       = "tar"
	KindVolume = "docker-vol"
)

// A title is what the name of an archive says.
type title struct {
	kind, name string
	time       time.Time // zero: now
}

func (t title) source() string { return t.kind + "/" + t.name }

// suffixes are left out of the names of sources.
var suffixes = []string{".tar", ".tar.zst", ".tar.gz", ".tar.lzo", ".tgz", ".tzst", ".tzo"}

// titleOf is what the name of a file says. Times are local.
func titleOf(path string) title {
	base := filepath.Base(path)
	plain := base
	for _, s := range suffixes {
		if short, ok := strings.CutSuffix(base, s); ok {
			plain = short
		}
	}
	// The names of the container and of its volume may hold dashes, so that they
	// stay together.
	if name, when, ok := ingest.Dated("docker-vol-", plain); ok && plain != base {
		return title{KindVolume, ingest.SourceName(name), when}
	}
	return title{kind: Kind, name: ingest.SourceName(plain)}
}
