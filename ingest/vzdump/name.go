package vzdump

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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
	name = printable(strings.TrimSuffix(strings.TrimSuffix(name, ".tgz"), suffix))
	if n := maxName - len(suffix); len(name) > n {
		name = strings.ToValidUTF8(name[:n], "")
	}
	return name + suffix
}

// maxName bounds the name of a file, in bytes.
const maxName = 255

// unfit says why a name is none for a source, which is written as SOURCE@TIME
// and shown on terminals; "" when it is one.
func unfit(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "is empty"
	case strings.Contains(name, "@"):
		return "holds an @, which separates a source from a time"
	case name != printable(name):
		return "holds what cannot be printed"
	}
	return ""
}

// printable percent-escapes the bytes of a name that are no printable UTF-8:
// manifests hold only that, and names are shown on terminals.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		if unicode.IsPrint(r) && !(r == utf8.RuneError && size == 1) {
			b.WriteString(s[i : i+size])
			continue
		}
		for _, c := range []byte(s[i : i+size]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
