package disk

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// suffixes are left out of the names of items.
var suffixes = []string{".qcow2", ".qcow", ".qc2", ".raw", ".img", ".vmdk", ".vdi", ".vhdx", ".vhd", ".vpc"}

// itemName is the name of the item that a file becomes.
func itemName(file string) string {
	base := filepath.Base(file)
	if suffix := suffixOf(base); len(suffix) < len(base) {
		base = base[:len(base)-len(suffix)]
	}
	return printable(base)
}

// unfit says why a name is none for a source, which is written as SOURCE@TIME and
// shown on terminals; "" when it is.
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

// suffixOf is the known suffix of a name, in lower case; "" for none.
func suffixOf(name string) string {
	if ext := strings.ToLower(filepath.Ext(name)); slices.Contains(suffixes, ext) {
		return ext
	}
	return ""
}

// itemNames are the names of the items of one snapshot, no two alike. A stream
// has the last part of the snapshot's own name.
func itemNames(files []string, name string) []string {
	names := make([]string, len(files))
	for i, f := range files {
		if f == Stream {
			f = name
		}
		first := itemName(f)
		names[i] = first
		for n := 2; slices.Contains(names[:i], names[i]); n++ {
			names[i] = fmt.Sprintf("%s-%d", first, n)
		}
	}
	return names
}

// printable percent-escapes the bytes of a file name that are no printable
// UTF-8: manifests hold only that, and names are shown on terminals.
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
