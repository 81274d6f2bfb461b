package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"vaultfs/chunk"
)

// maxInline is the length of the longest value of an extended attribute that
// stands in its entry, in bytes.
const maxInline = 512

// InlineXattr tells whether a value of that many bytes stands in the entry.
func InlineXattr(size int) bool { return size <= maxInline }

// validName checks a name in a directory.
func validName(name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%q cannot be a name in a directory", name)
	case len(name) > MaxNameLen:
		return fmt.Errorf("the name %q… has %d bytes, more than %d", name[:32], len(name), MaxNameLen)
	}
	return nil
}

// Validate checks all of an entry but its name: that everything is within its
// bounds, and that what its type does not have is not set.
func (e *TreeEntry) Validate() error {
	if e.Mode&^(TypeMask|0o7777) != 0 {
		return fmt.Errorf("mode %o is none", e.Mode)
	}
	if e.Mtime.Nsec >= 1e9 || e.Ctime.Nsec >= 1e9 {
		return errors.New("a time has 1e9 nanoseconds of a second or more")
	}
	if err := e.validType(); err != nil {
		return err
	}
	return e.validXattrs()
}

func (e *TreeEntry) validType() error {
	var rest TreeEntry // what the type does not have; all of it is zero
	rest.Target, rest.Rdev, rest.Content, rest.Below = e.Target, e.Rdev, e.Content, e.Below
	var err error
	switch e.Type() {
	case TypeRegular:
		rest.Content, err = Content{}, e.Content.validFile()
	case TypeDirectory:
		rest.Content, rest.Below = Content{}, Totals{}
		err = e.Content.validDir()
		if e.Below.Bytes > math.MaxInt64 {
			err = fmt.Errorf("%d bytes below a directory", e.Below.Bytes)
		}
	case TypeSymlink:
		rest.Target = ""
		if e.Target == "" || len(e.Target) > MaxTargetLen || strings.IndexByte(e.Target, 0) >= 0 {
			err = fmt.Errorf("a symbolic link cannot point to %.40q, %d bytes", e.Target, len(e.Target))
		}
	case TypeBlock, TypeChar:
		rest.Rdev = 0
	case TypeFifo, TypeSocket:
	default:
		err = fmt.Errorf("mode %o has no type", e.Mode)
	}
	if err != nil {
		return err
	}
	if rest.Target != "" || rest.Rdev != 0 || rest.Content != (Content{}) || rest.Below != (Totals{}) {
		return fmt.Errorf("mode %o, with something that its type does not have", e.Mode)
	}
	return nil
}

// validFile checks the content of a regular file.
func (c Content) validFile() error {
	dense := c.Ranges.IsZero()
	ok := c.Size > 0
	switch c.Kind {
	case NoContent:
		ok = c.ID.IsZero() && (dense && c.Size == 0 || !dense && c.Size > 0)
	case ChunkContent:
		ok = ok && !c.ID.IsZero() && (!dense || c.Size <= chunk.MaxSize)
	case StreamContent:
		ok = ok && !c.ID.IsZero()
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("content of kind %d cannot be that of a file of %d bytes", c.Kind, c.Size)
	}
	return nil
}

// validDir checks the content of a directory.
func (c Content) validDir() error {
	if c.Kind != DirContent || c.ID.IsZero() || !c.Ranges.IsZero() || c.Size < 0 {
		return fmt.Errorf("content of kind %d, %d bytes, is not that of a finished directory", c.Kind, c.Size)
	}
	return nil
}

func (e *TreeEntry) validXattrs() error {
	if len(e.Xattrs) > MaxXattrs {
		return fmt.Errorf("%d extended attributes, more than %d", len(e.Xattrs), MaxXattrs)
	}
	last := ""
	for _, x := range e.Xattrs {
		if x.Name == "" || len(x.Name) > MaxXattrName || strings.IndexByte(x.Name, 0) >= 0 {
			return fmt.Errorf("%.40q cannot be the name of an extended attribute", x.Name)
		}
		if x.Name <= last {
			return fmt.Errorf("the extended attribute %q does not come after %q", x.Name, last)
		}
		if err := x.validValue(); err != nil {
			return fmt.Errorf("the extended attribute %q: %w", x.Name, err)
		}
		last = x.Name
	}
	return nil
}

func (x *Xattr) validValue() error {
	inline := InlineXattr(int(x.Size))
	if x.Size > MaxXattrValue || inline != x.Chunk.IsZero() || (inline && len(x.Value) != int(x.Size)) || (!inline && len(x.Value) > 0) {
		return fmt.Errorf("a value of %d bytes is not stored as one of %d is", len(x.Value), x.Size)
	}
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t Timestamp) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Sec), uint64(t.Nsec))
}

// appendEntry encodes a valid entry and returns how many chunks it names.
func (b *DirBuilder) appendEntry(e *TreeEntry) (named int) {
	p := appendText(b.body, e.Name)
	for _, v := range [...]uint32{e.Mode, e.UID, e.GID} {
		p = binary.AppendUvarint(p, uint64(v))
	}
	p = appendTime(appendTime(p, e.Mtime), e.Ctime)
	for _, v := range [...]uint64{e.Inode, uint64(e.Device), uint64(e.Links), e.Blocks} {
		p = binary.AppendUvarint(p, v)
	}
	switch e.Type() {
	case TypeRegular:
		p, named = b.appendContent(p, e.Content)
	case TypeDirectory:
		named = 1
		p = binary.AppendUvarint(p, uint64(e.Content.Size))
		p = binary.AppendUvarint(p, b.structured.add(e.Content.ID))
		for _, v := range [...]uint64{e.Below.Files, e.Below.Dirs, e.Below.Others, e.Below.Bytes} {
			p = binary.AppendUvarint(p, v)
		}
	case TypeSymlink:
		p = appendText(p, e.Target)
	case TypeBlock, TypeChar:
		p = binary.AppendUvarint(p, e.Rdev)
	}
	p = binary.AppendUvarint(p, uint64(len(e.Xattrs)))
	for i := range e.Xattrs {
		x := &e.Xattrs[i]
		p = binary.AppendUvarint(appendText(p, x.Name), uint64(x.Size))
		if x.Chunk.IsZero() {
			p = append(p, x.Value...)
			continue
		}
		named++
		p = binary.AppendUvarint(p, b.data.add(x.Chunk))
	}
	b.body = p
	return named
}

// appendContent encodes the content of a regular file.
func (b *DirBuilder) appendContent(p []byte, c Content) (_ []byte, named int) {
	p = binary.AppendUvarint(p, uint64(c.Kind))
	p = binary.AppendUvarint(p, uint64(c.Size))
	switch c.Kind {
	case ChunkContent:
		p, named = binary.AppendUvarint(p, b.data.add(c.ID)), 1
	case StreamContent:
		p, named = binary.AppendUvarint(p, b.structured.add(c.ID)), 1
	}
	if c.Ranges.IsZero() {
		return append(p, 0), named
	}
	return binary.AppendUvarint(p, 1+b.data.add(c.Ranges)), named + 1
}

// A dirReader reads what stands in a directory node.
type dirReader struct {
	reader
	text                     string // all of it: names are parts of this
	ids                      Children
	seenStructured, seenData uint64
}

// entries reads n entries of level 0, sorted by name.
func (r *dirReader) entries(n int) ([]TreeEntry, error) {
	entries := make([]TreeEntry, n)
	last := ""
	for i := range entries {
		e := &entries[i]
		if err := r.entry(e); err != nil {
			return nil, err
		}
		if err := inOrder(last, e.Name); err != nil {
			return nil, err
		}
		last = e.Name
	}
	return entries, nil
}

// children reads n children of a node of a higher level, sorted by name.
func (r *dirReader) children(n int) ([]DirChild, error) {
	children := make([]DirChild, n)
	last, total := "", uint64(0)
	for i := range children {
		c := DirChild{First: r.string(MaxNameLen), Count: r.uint(), ID: r.structured()}
		if err := inOrder(last, c.First); err != nil {
			return nil, err
		}
		if total += c.Count; c.Count == 0 || c.Count > 1<<48 || total > 1<<48 {
			return nil, damaged("directory node with %d entries below it", c.Count)
		}
		children[i], last = c, c.First
	}
	return children, nil
}

// inOrder checks a name and that it comes after the last, which may be "".
func inOrder(last, name string) error {
	if err := validName(name); err != nil {
		return damaged("%v", err)
	}
	if name <= last {
		return damaged("the name %q after %q", name, last)
	}
	return nil
}

// entry reads an entry. Its name is not checked.
func (r *dirReader) entry(e *TreeEntry) error {
	e.Name = r.string(MaxNameLen)
	e.Mode, e.UID, e.GID = r.uint32(), r.uint32(), r.uint32()
	e.Mtime, e.Ctime = r.time(), r.time()
	e.Inode, e.Device, e.Links, e.Blocks = r.uint(), r.uint32(), r.uint32(), r.uint()
	switch e.Type() {
	case TypeRegular:
		e.Content = r.content()
	case TypeDirectory:
		e.Content = Content{Kind: DirContent, Size: r.size(), ID: r.structured()}
		e.Below = Totals{r.uint(), r.uint(), r.uint(), r.uint()}
	case TypeSymlink:
		e.Target = r.string(MaxTargetLen)
	case TypeBlock, TypeChar:
		e.Rdev = r.uint()
	}
	e.Xattrs = r.xattrs()
	if r.bad {
		return damaged("the entry %.40q of a directory is cut off or not in canonical form", e.Name)
	}
	if err := e.Validate(); err != nil {
		return damaged("entry %.40q: %v", e.Name, err)
	}
	return nil
}

// content reads the content of a regular file.
func (r *dirReader) content() (c Content) {
	kind := r.uint()
	if kind > uint64(StreamContent) {
		r.fail()
	}
	c.Kind, c.Size = ContentKind(kind), r.size()
	switch c.Kind {
	case ChunkContent:
		c.ID = r.data()
	case StreamContent:
		c.ID = r.structured()
	}
	if place := r.uint(); place > 0 {
		c.Ranges = child(r, place-1, r.ids.Data, &r.seenData)
	}
	return c
}

func (r *dirReader) xattrs() []Xattr {
	n := r.uint()
	if n > MaxXattrs || n > uint64(len(r.b)) {
		r.fail()
	}
	if r.bad || n == 0 {
		return nil
	}
	xattrs := make([]Xattr, n)
	for i := range xattrs {
		x := &xattrs[i]
		x.Name, x.Size = r.string(MaxXattrName), r.uint32()
		if InlineXattr(int(x.Size)) {
			x.Value = r.bytes(int(x.Size))
		} else {
			x.Chunk = r.data()
		}
	}
	return xattrs
}

// fail marks what is read as damaged. What is read from now on is zero.
func (r *dirReader) fail() { r.bad, r.b = true, nil }

// uint32 reads a number below 1<<32.
func (r *dirReader) uint32() uint32 {
	v := r.uint()
	if v > math.MaxUint32 {
		r.fail()
	}
	return uint32(v)
}

// size reads a number of bytes.
func (r *dirReader) size() int64 {
	v := r.uint()
	if v > math.MaxInt64 {
		r.fail()
	}
	return int64(v)
}

// time reads seconds, in the zigzag form of encoding/binary, and nanoseconds.
func (r *dirReader) time() Timestamp {
	v := r.uint()
	return Timestamp{int64(v>>1) ^ -int64(v&1), r.uint32()}
}

// bytes reads n bytes.
func (r *dirReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// string reads a length, at most limit, and as many bytes.
func (r *dirReader) string(limit int) string {
	n := r.uint()
	if n > uint64(limit) || n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	at := len(r.text) - len(r.b)
	r.b = r.b[n:]
	return r.text[at : at+int(n)]
}

// structured reads the place of a structured child.
func (r *dirReader) structured() chunk.ID {
	return child(r, r.uint(), r.ids.Structured, &r.seenStructured)
}

// data reads the place of a data child.
func (r *dirReader) data() chunk.ID { return child(r, r.uint(), r.ids.Data, &r.seenData) }

// child returns the ID at a place of a child list.
func child(r *dirReader, place uint64, ids []chunk.ID, seen *uint64) chunk.ID {
	if r.bad || !known(place, seen, len(ids)) {
		r.fail()
		return chunk.ID{}
	}
	return ids[place]
}

// finish checks that every byte was read and every child named.
func (r *dirReader) finish() error {
	if r.bad {
		return damaged("a directory node is cut off or not in canonical form")
	}
	if r.seenStructured != uint64(len(r.ids.Structured)) {
		return damaged("%d structured children, %d of them named", len(r.ids.Structured), r.seenStructured)
	}
	return finish(&r.reader, r.seenData, len(r.ids.Data))
}
