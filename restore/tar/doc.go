// Package tar writes a stored tree as a tar archive.
package tar
