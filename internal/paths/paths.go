// Package paths tells where a path really leads, and whether that is inside a
// directory: nothing may be mounted on or restored into the repository.
package paths

import (
	"path/filepath"
	"strings"
)

// Real makes a path absolute and free of symbolic links. It must exist.
func Real(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// Inside tells whether path is dir or lies below it. Both are as Real gives them.
func Inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
