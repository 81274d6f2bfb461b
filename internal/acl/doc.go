// Package acl converts POSIX access control lists between their text and the
// form that Linux keeps in extended attributes.
package acl
