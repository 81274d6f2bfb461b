package decompress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// The flags of a header.
const (
	flagAdler32D  = 1 << 0 // checksums of blocks, plain (D) and as stored (C)
	flagAdler32C  = 1 << 1
	flagCRC32D    = 1 << 8
	flagCRC32C    = 1 << 9
	flagExtra     = 1 << 6
	flagMultipart = 1 << 10
	flagFilter    = 1 << 11
	flagHeaderCRC = 1 << 12 // the header's own checksum is a CRC-32, else an Adler-32
)

// The versions of lzop: the one that brought the longer header, and the newest
// whose files are understood.
const (
	versionLevel  = 0x0940
	versionNewest = 0x1040
)

// The methods: all give what LZO1X decompresses.
const (
	methodFirst = 1 // LZO1X-1
	methodLast  = 3 // LZO1X-999
)

// An lzopHeader is what the fields of a header say, as far as it matters.
type lzopHeader struct {
	version, needed uint16
	method          byte
	flags           uint32
}

// readLzopHeader reads the header of a file and returns its flags.
func readLzopHeader(in *input) (uint32, error) {
	magic := make([]byte, len(lzopMagic))
	n, err := io.ReadFull(in, magic)
	if !bytes.HasPrefix(lzopMagic, magic[:n]) {
		return 0, errTrailing
	}
	if err != nil {
		return 0, cutHeader(err)
	}
	adler, crc := adler32.New(), crc32.NewIEEE()
	h, err := readLzopFields(io.TeeReader(in, io.MultiWriter(adler, crc)))
	if err != nil {
		return 0, cutHeader(err)
	}
	own := hash.Hash32(adler)
	if h.flags&flagHeaderCRC != 0 {
		own = crc
	}
	var sum [4]byte
	if _, err := io.ReadFull(in, sum[:]); err != nil {
		return 0, cutHeader(err)
	}
	if binary.BigEndian.Uint32(sum[:]) != own.Sum32() {
		return 0, errors.New("the header does not match its checksum")
	}
	return h.flags, h.check()
}

// readLzopFields reads the fields between the magic and the checksum.
func readLzopFields(r io.Reader) (h lzopHeader, err error) {
	number := func(n int) (v uint32) {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(r, b)
		}
		for _, c := range b {
			v = v<<8 | uint32(c)
		}
		return v
	}
	h.version = uint16(number(2))
	number(2) // version of the library
	if h.version >= versionLevel {
		h.needed = uint16(number(2))
	}
	h.method = byte(number(1))
	if h.version >= versionLevel {
		number(1) // level
	}
	h.flags = number(4)
	if h.flags&flagFilter != 0 {
		number(4)
	}
	number(4) // mode
	number(4) // time
	if h.version >= versionLevel {
		number(4) // time, higher half
	}
	for range number(1) { // name
		number(1)
	}
	return h, err
}

// check refuses what cannot be decompressed here.
func (h *lzopHeader) check() error {
	const instead = "decompress it with lzop"
	switch {
	case h.needed > versionNewest:
		return fmt.Errorf("it needs lzop %d.%02x or newer: %s", h.needed>>12, h.needed>>4&0xff, instead)
	case h.flags&flagMultipart != 0:
		return errors.New("it is one part of an archive of several, which is not read: " + instead)
	case h.flags&flagFilter != 0:
		return errors.New("it was made with lzop --filter, which is not read: " + instead)
	case h.flags&flagExtra != 0:
		return errors.New("its header has an extra field, which is not read: " + instead)
	case h.method < methodFirst || h.method > methodLast:
		return fmt.Errorf("the method %d is none of LZO1X: %s", h.method, instead)
	}
	return nil
}
