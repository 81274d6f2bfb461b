package pgarchive

import (
	"fmt"
	"time"
)

// Magic is what every archive begins with.
const Magic = "PGDMP"

// formatCustom is the format's number in the head; tar archives and the
// contents of directories have others.
const formatCustom = 1

// A Version is that of the archive format: 1.14 is 1<<8 | 14.
type Version int

func (v Version) String() string { return fmt.Sprintf("%d.%d", v>>8, v&0xff) }

// The versions that are read, and what came with them.
const (
	oldest         = Version(1<<8 | 12) // PostgreSQL 9.0
	tableAM        = Version(1<<8 | 14) // 12: the access method of a table
	namedAlgorithm = Version(1<<8 | 15) // 16: the compression is named, not only its level
	relKind        = Version(1<<8 | 16) // 17: the kind of a relation
	newest         = relKind
)

// A Head is the beginning of an archive.
type Head struct {
	Version     Version
	Compression string    // "none", "gzip", "lz4", "zstd"
	Made        time.Time // by the clock and in the time zone of whoever ran pg_dump, given as UTC
	Database    string
	Server      string // version that was dumped: "15.18 (Debian …)"
	Program     string // version of pg_dump
}

// maxText bounds what is kept of a string, in bytes.
const maxText = 1 << 10

func (r *reader) head() (h Head, err error) {
	fixed := make([]byte, len(Magic)+6)
	if err := r.full(fixed[:len(Magic)]); err != nil || string(fixed[:len(Magic)]) != Magic {
		if cut, ok := err.(*CutError); ok && (cut.Offset == 0 || Magic[:cut.Offset] == string(fixed[:cut.Offset])) {
			return h, err
		} else if err != nil && !ok {
			return h, err
		}
		return h, ErrNotArchive
	}
	f := fixed[len(Magic):]
	if err := r.full(f); err != nil {
		return h, err
	}
	h.Version = Version(f[0])<<8 | Version(f[1])
	r.intSize, r.offSize = int(f[3]), int(f[4])
	switch {
	case h.Version > newest:
		return h, ErrNewer
	case h.Version < oldest:
		return h, fmt.Errorf("the dump is of the archive format %s, older than PostgreSQL 9.0 writes: make a new one", h.Version)
	case r.intSize != 4 && r.intSize != 8:
		return h, r.bad("numbers of %d bytes", r.intSize)
	case r.offSize != 4 && r.offSize != 8:
		return h, r.bad("offsets of %d bytes", r.offSize)
	case f[5] != formatCustom:
		return h, fmt.Errorf("%w: the format is number %d; tar and directory dumps are not read, make one with pg_dump --format=custom", ErrNotArchive, f[5])
	}
	if h.Compression, err = r.compression(h.Version); err != nil {
		return h, err
	}
	if h.Made, err = r.made(); err != nil {
		return h, err
	}
	for _, s := range []*string{&h.Database, &h.Server, &h.Program} {
		if *s, _, err = r.string(maxText); err != nil {
			return h, err
		}
	}
	return h, nil
}

func (r *reader) compression(v Version) (string, error) {
	if v < namedAlgorithm {
		level, err := r.int()
		if level == 0 {
			return "none", err
		}
		return "gzip", err // -1 is the level that zlib chooses
	}
	algorithm, err := r.byte()
	if err != nil {
		return "", err
	}
	names := []string{"none", "gzip", "lz4", "zstd"}
	if int(algorithm) >= len(names) {
		return "", r.bad("compression number %d", algorithm)
	}
	return names[algorithm], nil
}

// made reads a struct tm.
func (r *reader) made() (t time.Time, err error) {
	var f [7]int64
	for i := range f {
		if f[i], err = r.int(); err != nil {
			return t, err
		}
	}
	return time.Date(int(f[5])+1900, time.Month(f[4]+1), int(f[3]), int(f[2]), int(f[1]), int(f[0]), 0, time.UTC), nil
}
