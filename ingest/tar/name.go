package tar

import (
	"path/filepath"
	"regexp"
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

// volume is the name of an archive of a docker volume, without its suffix:
// docker-vol-CONTAINER-VOLUME-DATE. Both names may hold dashes, so that they stay
// together.
var volume = regexp.MustCompile(`^docker-vol-(.+)-(\d{4}-\d\d-\d\d|\d{8})(?:[T_-]?(\d\d)[:-]?(\d\d)(?:[:-]?(\d\d))?)?$`)

// titleOf is what the name of a file says. Times are local.
func titleOf(path string) title {
	base := filepath.Base(path)
	plain := base
	for _, s := range suffixes {
		if short, ok := strings.CutSuffix(base, s); ok {
			plain = short
		}
	}
	if m := volume.FindStringSubmatch(plain); m != nil && plain != base {
		clock := m[3] + m[4] + m[5]
		when, err := time.ParseInLocation("20060102150405", strings.ReplaceAll(m[2], "-", "")+clock+"000000"[len(clock):], time.Local)
		if err == nil {
			return title{KindVolume, ingest.SourceName(m[1]), when}
		}
	}
	return title{kind: Kind, name: ingest.SourceName(plain)}
}
