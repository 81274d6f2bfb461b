// Package tree backs up a directory and all that is below it.
package tree
