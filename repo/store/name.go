package store

import (
	"fmt"
	"strings"
)

// Directories of the store itself; no object lives in them.
const (
	sessionsDir = "sessions"
	tmpDir      = "tmp"
)

// maxElement bounds one element of a name, in bytes (Linux NAME_MAX is 255),
// and maxDepth the number of elements.
const (
	maxElement = 200
	maxDepth   = 8
)

// checkObject returns ErrBadName unless name can be an object's name.
func checkObject(name string) error {
	elems := strings.Split(name, "/")
	if len(elems) > maxDepth {
		return fmt.Errorf("%w: %.100q has more than %d elements", ErrBadName, name, maxDepth)
	}
	for _, elem := range elems {
		if err := checkElement(elem); err != nil {
			return fmt.Errorf("%.100q: %w", name, err)
		}
	}
	if elems[0] == sessionsDir || elems[0] == tmpDir {
		return fmt.Errorf("%w: %.100q is the store's own", ErrBadName, name)
	}
	return nil
}

// checkElement allows [a-z0-9._-], but no leading dot: that rules out "." and
// "..", and keeps what file systems leave about (.nfs…, .snapshot) from
// passing for objects.
func checkElement(elem string) error {
	if elem == "" || len(elem) > maxElement || elem[0] == '.' {
		return fmt.Errorf("%w: element %.100q is empty, too long or starts with a dot", ErrBadName, elem)
	}
	for i := range len(elem) {
		c := elem[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w: byte %q is not one of a-z 0-9 . _ -", ErrBadName, c)
		}
	}
	return nil
}
