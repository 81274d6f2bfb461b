package vzdump

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"vaultfs/ingest"
)

// The kinds of guest, as the names of archives have them.
const (
	guestVM        = "qemu"
	guestContainer = "lxc"
)

// A title is what the name of an archive says; all is empty if it is not one
// that vzdump gives.
type title struct {
	guest string // guestVM or guestContainer
	vmid  string
	time  time.Time // when the backup began
	base  string    // the name without the suffixes: "vzdump-qemu-101-2026_11_20-03_00_01"
}

// archiveName is how vzdump names what it has finished. Times are local.
var archiveName = regexp.MustCompile(`^(vzdump-(qemu|lxc)-([1-9]\d{0,8})-(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d))\.(?:(?:vma|tar)(?:\.(?:zst|gz|lzo))?|tgz)$`)

// titleOf reads the name of a file.
func titleOf(path string) title {
	m := archiveName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return title{}
	}
	when, err := time.ParseInLocation("2006_01_02-15_04_05", m[4], time.Local)
	if err != nil {
		return title{}
	}
	return title{guest: m[2], vmid: m[3], time: when, base: m[1]}
}

// plainName is the file name of an archive without the suffix of a compression,
// and with that of its own format.
func plainName(path, suffix string) string {
	name := filepath.Base(path)
	for _, compressed := range []string{".zst", ".gz", ".lzo"} {
		name = strings.TrimSuffix(name, compressed)
	}
	name = ingest.Printable(strings.TrimSuffix(strings.TrimSuffix(name, ".tgz"), suffix))
	if n := maxName - len(suffix); len(name) > n {
		name = strings.ToValidUTF8(name[:n], "")
	}
	return name + suffix
}

// maxName bounds the name of a file, in bytes.
const maxName = 255
