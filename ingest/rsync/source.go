package rsync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vaultfs/ingest"
)

// A source is what a mirror is made of, without a slash at the end: a directory
// of this host by its absolute path, or of another as rsync(1) writes it.
type source string

// parseSource takes a source as a person writes it. As rsync does it, one with
// a colon before the first slash is of another host.
func parseSource(text string) (source, error) {
	if text == "" {
		return "", fmt.Errorf("%w: the source is empty", ErrUsage)
	}
	if strings.ContainsRune(text, 0) {
		return "", fmt.Errorf("%w: source %q holds a NUL byte", ErrUsage, text)
	}
	s := source(text)
	if !s.remote() {
		path, err := filepath.Abs(text)
		return source(path), err
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(text, "rsync://"), ":")
	_, host, found := strings.Cut(host, "@")
	if !found {
		host = strings.TrimPrefix(text, "rsync://")
	}
	if host == "" || host[0] == '-' || host[0] == ':' || text[0] == '-' {
		return "", fmt.Errorf("%w: source %q names no host", ErrUsage, text)
	}
	if short := strings.TrimRight(text, "/"); !strings.HasSuffix(short, ":") {
		s = source(short)
	}
	return s, nil
}

// remote tells a source of another host.
func (s source) remote() bool {
	before, _, colon := strings.Cut(string(s), ":")
	return colon && !strings.Contains(before, "/")
}

// String is the source for people, and what the mirror remembers of it.
func (s source) String() string { return string(s) }

// contents is the argument that makes rsync copy what is in the source, not the
// source.
func (s source) contents() string {
	switch {
	case strings.HasSuffix(string(s), "/"):
		return string(s)
	case strings.HasSuffix(string(s), ":") && !strings.HasSuffix(string(s), "::"):
		return string(s) + "./" // the directory that one comes to, not the root
	}
	return string(s) + "/"
}

// checkLocal refuses what is no directory, and one that the mirrors lie in: the
// mirror would hold itself.
func (s source) checkLocal(mirrors string) error {
	info, err := os.Stat(string(s))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("source %q does not exist: nothing was backed up", s)
	case err != nil:
		return fmt.Errorf("source: %w", err)
	case !info.IsDir():
		return fmt.Errorf("source %q is not a directory: name the directory that it lies in", s)
	}
	real, err := filepath.EvalSymlinks(string(s))
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if real == "/" || strings.HasPrefix(realPath(mirrors)+"/", real+"/") {
		return fmt.Errorf("%w: source %q holds the mirrors in %q: back it up with `vaultfs ingest tree`, which needs none", ErrUsage, s, mirrors)
	}
	return nil
}

// realPath is a path without symbolic links, as far as it exists.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(realPath(dir), filepath.Base(path))
	}
	return path
}

// unfit says why a name is none for a mirror; "" when it is.
func unfit(name string) string {
	switch {
	case name == "":
		return "is empty: give one with --name"
	case name == ".", name == "..", strings.Contains(name, "/"):
		return "is no name of a directory: it may not be \".\" or \"..\" nor hold a slash"
	case len(name) > 255:
		return "is longer than 255 bytes"
	}
	return ingest.Unfit(name)
}
