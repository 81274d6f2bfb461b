// Package tar backs up tar archives, member by member, as trees.
package tar
