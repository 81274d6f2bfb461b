// Package tar writes a stored tree as a tar archive.
//
// The archive is a POSIX one, "pax" of GNU tar, with what GNU tar adds to it:
// times to the nanosecond, extended attributes as SCHILY.xattr.*, access control
// lists as SCHILY.acl.*, sparse files in the form 1.0. As root,
//
//	tar -xp --xattrs --xattrs-include='*' --acls --numeric-owner
//
// makes the same tree of it, and so does bsdtar. Members come depth first, in the
// order of the bytes of their names, and their names begin with "./"; a directory
// comes before what is in it. The first name of a file that has several is the
// file, the others are hard links to it. Owners are numbers. Sockets, which no
// tar archive can hold, are left out.
package tar
