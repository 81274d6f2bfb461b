package acl

import (
	"encoding/binary"
	"fmt"
)

// The form of the extended attributes system.posix_acl_access and
// system.posix_acl_default, from include/uapi/linux/posix_acl_xattr.h: a version,
// and for each entry tag, permissions and ID; all little-endian.
const (
	xattrVersion = 2
	headerSize   = 4
	entrySize    = 8
	undefinedID  = ^uint32(0)
)

// Xattr is the list as Linux keeps it.
func (l List) Xattr() []byte {
	b := binary.LittleEndian.AppendUint32(nil, xattrVersion)
	for _, e := range l {
		b = binary.LittleEndian.AppendUint16(b, uint16(e.Tag))
		b = binary.LittleEndian.AppendUint16(b, e.Perm)
		id := undefinedID
		if e.Tag.named() {
			id = e.ID
		}
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

// FromXattr reads what Linux keeps. A list that is not valid is an error.
func FromXattr(b []byte) (List, error) {
	if len(b) < headerSize || (len(b)-headerSize)%entrySize != 0 || len(b) > headerSize+MaxEntries*entrySize {
		return nil, fmt.Errorf("an attribute of %d bytes %w", len(b), errInvalid)
	}
	if v := binary.LittleEndian.Uint32(b); v != xattrVersion {
		return nil, fmt.Errorf("an attribute of version %d %w", v, errInvalid)
	}
	l := make(List, 0, len(b)/entrySize)
	for b = b[headerSize:]; len(b) > 0; b = b[entrySize:] {
		e := Entry{Tag: Tag(binary.LittleEndian.Uint16(b)), Perm: binary.LittleEndian.Uint16(b[2:])}
		switch e.Tag {
		case OneUser, OneGroup:
			e.ID = binary.LittleEndian.Uint32(b[4:])
		case UserObj, GroupObj, Mask, Other:
		default:
			return nil, fmt.Errorf("an attribute with the tag %#x %w", uint16(e.Tag), errInvalid)
		}
		l = append(l, e)
	}
	return l, l.check()
}
