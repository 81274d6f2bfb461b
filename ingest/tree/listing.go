package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// A listing is the names in a directory. A directory may have millions, so they
// lie one after the other in large blocks.
type listing struct {
	blocks [][]byte
	names  []place
}

// A place is that of a name in a listing.
type place struct {
	block, off uint32
	len        uint16
}

// blockSize is the size of a block of names, in bytes. A small directory has
// one that is smaller.
const blockSize = 1 << 20

// A lister reads directories, with one buffer.
type lister struct{ buf []byte }

func newLister() *lister { return &lister{make([]byte, 64<<10)} }

// list returns the names in an open directory, sorted by their bytes, without
// "." and "..". What was read before an error comes with it.
func (l *lister) list(dir int) (*listing, error) {
	names := new(listing)
	for {
		var n int
		err := again(func() (err error) {
			n, err = unix.Getdents(dir, l.buf)
			return err
		})
		if errors.Is(err, unix.ENOENT) { // it was removed
			err, n = nil, 0
		}
		if err != nil || n == 0 {
			names.sort()
			return names, err
		}
		if err := names.take(l.buf[:n]); err != nil {
			return names, err
		}
	}
}

// The places of the fields of struct linux_dirent64, see getdents(2).
const (
	direntLength = 16
	direntName   = 19
)

func (l *listing) take(entries []byte) error {
	for len(entries) > 0 {
		if len(entries) < direntName {
			return errors.New("the kernel's list of its names ends in the middle of one")
		}
		n := int(binary.NativeEndian.Uint16(entries[direntLength:]))
		if n < direntName || n > len(entries) {
			return errors.New("the kernel's list of its names has an entry of no proper length")
		}
		name, _, _ := bytes.Cut(entries[direntName:n], []byte{0})
		if s := string(name); s != "." && s != ".." && s != "" {
			l.add(name)
		}
		entries = entries[n:]
	}
	return nil
}

func (l *listing) add(name []byte) {
	last := len(l.blocks) - 1
	if last < 0 || len(l.blocks[last])+len(name) > cap(l.blocks[last]) {
		size := blockSize
		if last < 0 {
			size = 4 << 10
		}
		l.blocks = append(l.blocks, make([]byte, 0, size))
		last++
	}
	b := &l.blocks[last]
	l.names = append(l.names, place{uint32(last), uint32(len(*b)), uint16(len(name))})
	*b = append(*b, name...)
}

func (l *listing) bytes(p place) []byte { return l.blocks[p.block][p.off:][:p.len] }

func (l *listing) sort() {
	slices.SortFunc(l.names, func(a, b place) int { return bytes.Compare(l.bytes(a), l.bytes(b)) })
	// A directory that is changed meanwhile may list a name twice.
	l.names = slices.CompactFunc(l.names, func(a, b place) bool { return bytes.Equal(l.bytes(a), l.bytes(b)) })
}

func (l *listing) len() int { return len(l.names) }

func (l *listing) at(i int) string { return string(l.bytes(l.names[i])) }

// only is the listing of one name of this one, and nil if it is not there.
func (l *listing) only(name string) *listing {
	i, found := slices.BinarySearchFunc(l.names, []byte(name), func(p place, name []byte) int { return bytes.Compare(l.bytes(p), name) })
	if !found {
		return nil
	}
	return &listing{l.blocks, l.names[i : i+1]}
}
