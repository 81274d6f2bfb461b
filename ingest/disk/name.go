package disk

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"vaultfs/ingest"
)

// suffixes are left out of the names of items.
var suffixes = []string{".qcow2", ".qcow", ".qc2", ".raw", ".img", ".vmdk", ".vdi", ".vhdx", ".vhd", ".vpc"}

// itemName is the name of the item that a file becomes.
func itemName(file string) string {
	base := filepath.Base(file)
	if suffix := suffixOf(base); len(suffix) < len(base) {
		base = base[:len(base)-len(suffix)]
	}
	return ingest.Printable(base)
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
