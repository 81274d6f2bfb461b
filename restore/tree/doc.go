// Package tree puts a stored tree back into a directory.
package tree
