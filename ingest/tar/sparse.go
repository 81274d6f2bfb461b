package tar

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"vaultfs/repo"
)

// sparsePrefix begins the keys of GNU tar's sparse files in pax headers.
const sparsePrefix = "GNU.sparse."

// maxRuns bounds the map of a sparse file while it is read, and maxFill how many
// bytes of holes are stored as zeros so that they are no more than the repository
// takes.
const (
	maxRuns = 1 << 20
	maxFill = 1 << 40
)

var errSparse = errors.New("a map of its data that cannot be right")

// A sparseMap says where the data of a sparse file belongs. GNU tar has written
// it in four ways: in the header and blocks after it, the "old GNU" form; as
// records of the pax header, 0.0 and 0.1; and before the content, 1.0.
type sparseMap struct {
	is     bool
	inData bool   // form 1.0
	name   string // of the file; that of the member is made up
	size   int64
	runs   []repo.Range
	offset int64 // of form 0.0: the run whose length comes next
}

// apply takes a record of the pax header.
func (s *sparseMap) apply(r record) (err error) {
	s.is = true
	switch strings.TrimPrefix(r.key, sparsePrefix) {
	case "major":
		s.inData = r.value == "1"
		if r.value != "0" && !s.inData {
			return errors.New("a sparse file in a form of GNU tar that is not known here")
		}
	case "name":
		s.name, err = noNUL(r, "")
	case "size", "realsize":
		s.size, err = strconv.ParseInt(r.value, 10, 64)
	case "offset":
		s.offset, err = strconv.ParseInt(r.value, 10, 64)
	case "numbytes":
		var n int64
		if n, err = strconv.ParseInt(r.value, 10, 64); err == nil {
			err = s.add(s.offset, n)
		}
	case "map":
		err = s.list(strings.Split(r.value, ","))
	}
	if err != nil {
		return errSparse
	}
	return nil
}

// list adds runs that are given as their offset, length, offset, length.
func (s *sparseMap) list(fields []string) error {
	if len(fields)%2 != 0 {
		return errSparse
	}
	for i := 0; i < len(fields); i += 2 {
		off, err := strconv.ParseInt(fields[i], 10, 64)
		n, err2 := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil || err2 != nil {
			return errSparse
		}
		if err := s.add(off, n); err != nil {
			return err
		}
	}
	return nil
}

// add adds a run; they rise and do not overlap.
func (s *sparseMap) add(off, n int64) error {
	end := int64(0)
	if len(s.runs) > 0 {
		last := s.runs[len(s.runs)-1]
		end = last.Off + last.Len
	}
	switch {
	case off < end || n < 0 || off+n < off || len(s.runs) >= maxRuns:
		return errSparse
	case n == 0: // stands for a hole at the end
	case off == end && len(s.runs) > 0:
		s.runs[len(s.runs)-1].Len += n
	default:
		s.runs = append(s.runs, repo.Range{Off: off, Len: n})
	}
	return nil
}

// fields adds the runs of a header or of a block that follows it: pairs of
// numbers of twelve bytes, of which one without an offset is the last.
func (s *sparseMap) fields(b []byte) error {
	for ; len(b) >= 24; b = b[24:] {
		if b[0] == 0 {
			return nil
		}
		off, err := number(b[:12])
		n, err2 := number(b[12:24])
		if err != nil || err2 != nil {
			return errSparse
		}
		if err := s.add(off, n); err != nil {
			return err
		}
	}
	return nil
}

// readMap reads the map of form 1.0: decimal numbers, a line each, their count
// first, padded to whole blocks. It returns the bytes that it takes.
func (s *sparseMap) readMap(r io.Reader) (taken int64, err error) {
	var b block
	pos := blockSize
	line := func() (int64, error) {
		for n, digits := int64(0), 0; ; digits++ {
			if pos == blockSize {
				if _, err := io.ReadFull(r, b[:]); err != nil {
					return 0, err
				}
				taken, pos = taken+blockSize, 0
			}
			c := b[pos]
			pos++
			switch {
			case c == '\n' && digits > 0:
				return n, nil
			case c < '0' || c > '9' || digits > 18:
				return 0, errSparse
			}
			n = n*10 + int64(c-'0')
		}
	}
	count, err := line()
	if err == nil && count > maxRuns {
		err = errSparse
	}
	for ; err == nil && count > 0; count-- {
		var off, n int64
		if off, err = line(); err == nil {
			n, err = line()
		}
		if err == nil {
			err = s.add(off, n)
		}
	}
	return taken, err
}

// data is how many bytes of data there are.
func (s *sparseMap) data() (n int64) {
	for _, r := range s.runs {
		n += r.Len
	}
	return n
}

// check compares the map with what is stored of the file.
func (s *sparseMap) check(stored int64) error {
	if n := len(s.runs); n > 0 && s.runs[n-1].Off+s.runs[n-1].Len > s.size || s.size < 0 || s.data() != stored {
		return errSparse
	}
	return nil
}

// storable returns the runs as the repository takes them, at most limit: the
// shortest holes are filled until they are so few.
func storable(runs []repo.Range, limit int) []repo.Range {
	for shortest := int64(4096); len(runs) > limit; shortest *= 2 {
		fewer := slices.Clone(runs[:1])
		for _, r := range runs[1:] {
			last := &fewer[len(fewer)-1]
			if r.Off-(last.Off+last.Len) <= shortest {
				last.Len = r.Off + r.Len - last.Off
				continue
			}
			fewer = append(fewer, r)
		}
		runs = fewer
	}
	return runs
}

// A filler gives the bytes of runs that have been merged from those that r
// holds: zeros for the holes between these.
type filler struct {
	r      io.Reader
	runs   []repo.Range // of r, not begun yet
	merged []repo.Range // not finished yet
	pos    int64
	left   int64 // of the run of r that has been begun
}

// newFiller begins with the first run.
func newFiller(r io.Reader, runs, merged []repo.Range) io.Reader {
	if len(runs) == len(merged) {
		return r
	}
	return &filler{r: r, runs: runs, merged: merged, pos: merged[0].Off}
}

func (f *filler) Read(p []byte) (int, error) {
	if len(f.merged) > 0 && f.pos == f.merged[0].Off+f.merged[0].Len {
		if f.merged = f.merged[1:]; len(f.merged) > 0 {
			f.pos = f.merged[0].Off
		}
	}
	if len(f.merged) == 0 {
		return 0, io.EOF
	}
	if f.left == 0 && len(f.runs) > 0 && f.runs[0].Off == f.pos {
		f.left, f.runs = f.runs[0].Len, f.runs[1:]
	}
	if f.left == 0 {
		n := min(int64(len(p)), f.runs[0].Off-f.pos)
		clear(p[:n])
		f.pos += n
		return int(n), nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.pos, f.left = f.pos+int64(n), f.left-int64(n)
	if err == io.EOF && f.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}
