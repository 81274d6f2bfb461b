package pgarchive

import (
	"bufio"
	"io"
)

// A Summary is what was read of an archive that is whole.
type Summary struct {
	Head
	Entries int      // of the contents
	Blocks  int      // of data
	Size    int64    // bytes
	Owners  []string // of what the contents name
	Indexed bool     // the contents say where every block begins
	// OfDatabase is what the contents hold of the database itself, which only
	// `pg_restore --create` brings back: "settings", "privileges", "comment",
	// "security label".
	OfDatabase []string
}

// Check reads an archive to its end and returns what it is. It fails with a
// CutError or DamageError if it is not whole, with ErrNotArchive, or with
// ErrNewer, where Summary holds the version. Compressed data is followed by
// the lengths of its pieces only. Memory is taken for what has data, about 200
// bytes each.
func Check(in io.Reader) (Summary, error) {
	c := &checker{reader: reader{r: bufio.NewReaderSize(in, bufferSize)}, data: map[int]*entry{}}
	err := c.run()
	c.sum.Size, c.sum.Owners, c.sum.OfDatabase = c.off, c.owners.list, c.database.list
	return c.sum, err
}

// ReadHead reads the beginning of an archive, of which in holds at least the
// first 4 KiB. Its errors are those of Check.
func ReadHead(in io.Reader) (Head, error) {
	r := reader{r: bufio.NewReader(in)}
	return r.head()
}

// A checker reads one archive.
type checker struct {
	reader
	sum    Summary
	data   map[int]*entry // by dump ID, of entries with data
	order  []int          // of the contents
	owners set
	// database is Summary.OfDatabase.
	database set
}

func (c *checker) run() (err error) {
	if c.sum.Head, err = c.head(); err != nil {
		return err
	}
	if err := c.contents(); err != nil {
		return err
	}
	for {
		more, err := c.block()
		if err != nil {
			return err
		}
		if !more {
			return c.complete()
		}
	}
}

// The types of a block.
const (
	blockData  = 1
	blockBlobs = 3
)

// block reads a block; more is false at the end of the archive.
func (c *checker) block() (more bool, err error) {
	begin := c.off
	kind, err := c.r.ReadByte()
	if err == io.EOF {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.off++
	if kind != blockData && kind != blockBlobs {
		c.off = begin
		return false, c.bad("a block of type %d", kind)
	}
	id, err := c.int()
	if err != nil {
		return false, err
	}
	switch e := c.data[int(id)]; {
	case e == nil:
		return false, c.bad("a block of data numbered %d, which the table of contents does not name", id)
	case e.found:
		return false, c.bad("a second block of data of %s", e.name)
	case e.stated >= 0 && e.stated != begin:
		return false, c.bad("the data of %s, which should begin at %d and begins at %d", e.name, e.stated, begin)
	default:
		e.found = true
	}
	c.sum.Blocks++
	if kind == blockBlobs {
		return true, c.blobs()
	}
	return true, c.pieces()
}

// pieces passes over the pieces of a block up to the empty one that ends them.
func (c *checker) pieces() error {
	for {
		n, err := c.int()
		switch {
		case err != nil:
			return err
		case n == 0:
			return nil
		case n < 0:
			return c.bad("a piece of %d bytes", n)
		}
		if err := c.skip(n); err != nil {
			return err
		}
	}
}

// blobs passes over large objects. Their OIDs are unsigned and are written as
// signed numbers.
func (c *checker) blobs() error {
	for {
		oid, err := c.int()
		if err != nil || oid == 0 {
			return err
		}
		if err := c.pieces(); err != nil {
			return err
		}
	}
}

// complete looks whether everything that is named has come.
func (c *checker) complete() error {
	c.sum.Indexed = true
	for _, id := range c.order {
		e := c.data[id]
		if !e.found {
			return &CutError{Offset: c.off, Lacks: e.name}
		}
		c.sum.Indexed = c.sum.Indexed && e.stated >= 0
	}
	return nil
}
