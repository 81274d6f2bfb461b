package tar

import (
	"errors"
	"strings"
)

// Bounds of paths. A component is as long as Linux allows; deeper trees than
// maxDepth cannot be named to any system call.
const (
	maxName  = 255
	maxDepth = 4096
)

// Why a member is left out for its name.
var (
	errParent  = errors.New("its name has a \"..\" in it")
	errTooLong = errors.New("a part of its name has more than 255 bytes")
	errTooDeep = errors.New("it lies below more than 4096 directories")
)

// split is the components of a path, as tar would make them when it extracts into
// an empty directory: what begins with '/' begins in the tree.
func split(path string) (parts []string, err error) {
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return nil, errParent
		case len(part) > maxName:
			return nil, errTooLong
		case len(parts) == maxDepth:
			return nil, errTooDeep
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// clean is a path without what split passes over.
func clean(parts []string) string { return strings.Join(parts, "/") }
