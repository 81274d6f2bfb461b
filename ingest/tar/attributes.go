package tar

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/internal/acl"
	"vaultfs/repo"
)

// Bounds of extended attributes as Linux has them, in bytes or pieces.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrs     = 1024
	maxTarget     = 4095
)

// modeTypes are the types of file that the types of member stand for. What is
// not among them is taken for a regular file, as POSIX wants it.
var modeTypes = map[byte]uint32{
	typeSymlink: modeSymlink, typeChar: modeChar, typeBlock: modeBlock, typeDir: modeDir, typeDumpdir: modeDir, typeFifo: modeFifo,
}

// entry is what the tree keeps of a member, without its content and its extended
// attributes. An error says why the member cannot be in a tree.
func (s *storing) entry(m *member) (*repo.Entry, error) {
	kind, ok := modeTypes[m.kind]
	if !ok {
		kind = modeRegular
	}
	e := &repo.Entry{Mode: uint32(m.mode)&0o7777 | kind, Mtime: m.mtime}
	var err error
	if e.UID, err = id(m.uid); err != nil {
		return nil, fmt.Errorf("its user is %d: %w", m.uid, err)
	}
	if e.GID, err = id(m.gid); err != nil {
		return nil, fmt.Errorf("its group is %d: %w", m.gid, err)
	}
	switch kind {
	case modeSymlink:
		e.Mode |= 0o777
		e.Target = m.link
		if m.link == "" || len(m.link) > maxTarget {
			return nil, fmt.Errorf("it is a symbolic link with a target of %d bytes", len(m.link))
		}
	case modeChar, modeBlock:
		if m.major < 0 || m.major > 1<<32-1 || m.minor < 0 || m.minor > 1<<32-1 {
			return nil, fmt.Errorf("it is a device with the number %d:%d", m.major, m.minor)
		}
		e.Rdev = uint64(m.major)<<32 | uint64(m.minor)
	}
	s.names.learn(m)
	return e, nil
}

// id is a user or a group. Some programs write the highest numbers as negative
// ones.
func id(n int64) (uint32, error) {
	if n < -1<<31 || n > 1<<32-1 {
		return 0, errors.New("no such number is possible")
	}
	return uint32(n), nil
}

// xattrs gives the entry its extended attributes, and the access control lists
// in the form that Linux keeps. Those that are not possible are left out and
// told; an error is one of the repository.
func (s *storing) xattrs(m *member, e *repo.Entry) error {
	if e.Mode&modeType != modeSymlink {
		if list := s.acl(m, accessACLAttribute, m.accessACL); list != nil {
			e.Mode = e.Mode&^0o777 | list.Mode() // libarchive writes another mode, which setting the list undoes
		}
		s.acl(m, defaultACLAttribute, m.defaultACL)
	}
	if m.surplus > 0 {
		s.warn("%q: it has more than %d extended attributes; %d are left out", m.name, maxXattrs, m.surplus)
	}
	for _, x := range m.xattrs {
		switch {
		case x.key == "" || len(x.key) > maxXattrName || strings.ContainsRune(x.key, 0):
			s.warn("%q: an extended attribute whose name has %d bytes is left out", m.name, len(x.key))
			continue
		case len(x.value) > maxXattrValue:
			s.warn("%q: the extended attribute %q is left out: it has %d bytes, more than Linux allows", m.name, x.key, len(x.value))
			continue
		}
		kept, err := s.files.PutXattr(s.ctx, x.key, []byte(x.value))
		if err != nil {
			return err
		}
		e.Xattrs = append(e.Xattrs, kept)
	}
	slices.SortFunc(e.Xattrs, func(a, b repo.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// acl makes an extended attribute of an access control list, if there is one,
// which it returns.
func (s *storing) acl(m *member, attribute, text string) acl.List {
	if text == "" {
		return nil
	}
	list, unknown, err := acl.Parse(text, s.lookUp)
	if err != nil {
		s.warn("%q: its access control list is left out: %v", m.name, err)
		return nil
	}
	for _, who := range unknown {
		s.warn("%q: its access control list names the %s, whose number neither the archive nor this host knows: that entry is left out; `tar --numeric-owner` keeps it", m.name, who)
	}
	if attribute != accessACLAttribute || !list.Minimal() { // else the mode tells it all
		m.setXattr(attribute, string(list.Xattr()))
	}
	return list
}
