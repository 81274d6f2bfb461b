package vma

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// readHeader reads and checks the header. Nothing is allocated by a length that
// it states before that is known to be at most 512 KiB.
func readHeader(in *input) (*Header, error) {
	fixed := make([]byte, fixedHeaderSize)
	switch n, err := in.read(fixed); {
	case err == io.EOF && n == 0:
		return nil, errors.New("it is empty")
	case n >= len(headerMagic) && string(fixed[:len(headerMagic)]) != headerMagic:
		return nil, fmt.Errorf("it begins with the bytes % x where a VMA has % x: it is none, or its beginning is damaged", fixed[:4], headerMagic)
	case err == io.EOF:
		return nil, fmt.Errorf("it is cut off: it ends after %d bytes, inside of the header, whose first part alone has %d", n, fixedHeaderSize)
	case err != nil:
		return nil, fmt.Errorf("reading its header: %w", err)
	}
	be := binary.BigEndian
	if v := be.Uint32(fixed[atVersion:]); v != version {
		return nil, fmt.Errorf("its header says version %d at byte %d: only version %d is known", v, atVersion, version)
	}
	size := be.Uint32(fixed[atHeaderSize:])
	if size <= fixedHeaderSize || size > maxHeaderSize {
		return nil, fmt.Errorf("its header says at byte %d that it has %d bytes: it can have %d to %d", atHeaderSize, size, fixedHeaderSize+1, maxHeaderSize)
	}
	b := make([]byte, size)
	n, err := in.read(b[copy(b, fixed):])
	if err == io.EOF {
		return nil, fmt.Errorf("it is cut off: it ends at byte %d, inside of the header of %d bytes", fixedHeaderSize+n, size)
	}
	if err != nil {
		return nil, fmt.Errorf("reading its header: %w", err)
	}
	if err := checkSum(b, atHeaderSum); err != nil {
		return nil, fmt.Errorf("its header (bytes 0 to %d) is damaged: %w", size-1, err)
	}
	h, err := decodeHeader(b)
	if err != nil {
		return nil, fmt.Errorf("its header: %w", err)
	}
	return h, nil
}

// checkSum compares an MD5 that stands in the bytes it is of, where it counts
// as zeros.
func checkSum(b []byte, at int) error {
	var stated, zero [md5.Size]byte
	copy(stated[:], b[at:])
	copy(b[at:], zero[:])
	got := md5.Sum(b)
	copy(b[at:], stated[:])
	if got != stated {
		return fmt.Errorf("its MD5 is %x, at byte %d of it stands %x", got, at, stated)
	}
	return nil
}

// decodeHeader reads a header whose checksum is right.
//
// As Proxmox's own reader does it leaves out what is not in use: the reserved
// bytes and the padding, pairs of pointers to a configuration file of which one
// is 0, slots of a size of 0, and slots 0 and 255.
func decodeHeader(b []byte) (*Header, error) {
	be := binary.BigEndian
	h := &Header{UUID: [16]byte(b[atUUID:]), Created: int64(be.Uint64(b[atCreated:]))}
	blobs, err := decodeBlobs(b)
	if err != nil {
		return nil, err
	}
	for i := range maxConfigs {
		name, data := be.Uint32(b[atConfigNames+4*i:]), be.Uint32(b[atConfigData+4*i:])
		if name == 0 || data == 0 {
			continue
		}
		var c Config
		if c.Name, err = blobs.name(name); err == nil {
			c.Data, err = blobs.get(data)
		}
		if err != nil {
			return nil, fmt.Errorf("configuration file %d (pointers at bytes %d and %d): %w", i, atConfigNames+4*i, atConfigData+4*i, err)
		}
		h.Configs = append(h.Configs, c)
	}
	for id := firstDrive; id <= lastDrive; id++ {
		at := atDrives + driveEntrySize*id
		size := be.Uint64(b[at+atDriveSize:])
		if size == 0 {
			continue
		}
		name, err := blobs.name(be.Uint32(b[at:]))
		if err != nil {
			return nil, fmt.Errorf("the name of device %d (pointer at byte %d): %w", id, at, err)
		}
		if size > maxDriveSize {
			return nil, fmt.Errorf("drive %q (device %d, at byte %d) has a size of %d bytes: an archive lists at most %d of one drive, so clusters must be missing",
				name, id, at, size, int64(maxDriveSize))
		}
		h.Drives = append(h.Drives, Drive{uint8(id), name, int64(size)})
	}
	return h, h.Validate()
}

// blobs are the byte strings of a header by their pointers.
type blobs map[uint32][]byte

// decodeBlobs walks through the blobs, which follow one another from the second
// byte of their buffer to its end.
func decodeBlobs(b []byte) (blobs, error) {
	be := binary.BigEndian
	start, size := uint64(be.Uint32(b[atBlobs:])), uint64(be.Uint32(b[atBlobsSize:]))
	if start < fixedHeaderSize || start+size > uint64(len(b)) {
		return nil, fmt.Errorf("bytes %d to %d say that the names and configuration files lie at byte %d, with %d bytes: they must lie from byte %d to %d",
			atBlobs, atBlobsSize+3, start, size, fixedHeaderSize, len(b)-1)
	}
	all, list := b[start:start+size], blobs{}
	for at := 1; at < len(all); {
		if at+2 > len(all) {
			return nil, fmt.Errorf("the names and configuration files end inside of a length, at byte %d", start+uint64(at))
		}
		n := int(binary.LittleEndian.Uint16(all[at:]))
		if at+2+n > len(all) {
			return nil, fmt.Errorf("the name or configuration file at byte %d has %d bytes, %d are left", start+uint64(at), n, len(all)-at-2)
		}
		list[uint32(at)] = all[at+2 : at+2+n : at+2+n]
		at += 2 + n
	}
	return list, nil
}

func (l blobs) get(pointer uint32) ([]byte, error) {
	b, ok := l[pointer]
	if !ok {
		return nil, fmt.Errorf("pointer %d is not to the beginning of a name or configuration file", pointer)
	}
	return b, nil
}

// name returns a blob that is a name, without the zero byte that ends it.
func (l blobs) name(pointer uint32) (string, error) {
	b, err := l.get(pointer)
	if err != nil {
		return "", err
	}
	if len(b) == 0 || b[len(b)-1] != 0 {
		return "", fmt.Errorf("the name %q does not end in a zero byte", b)
	}
	return string(b[:len(b)-1]), nil
}
