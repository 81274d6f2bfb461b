// Package tar backs up tar archives, member by member, as trees.
//
// The tree is what GNU tar would make of the archive as root in an empty
// directory, with all attributes: of several members of one path the last counts,
// names that begin with "/" begin in the tree, and directories that have no member
// are made. It differs where tar would write elsewhere or lose something without
// a word. A name with ".." in it is left out with a warning. Nothing goes through
// a symbolic link: a member below one takes its place as a directory, with a
// warning. A file that comes after a directory of its name takes the place of that
// with all that is in it, with a warning.
//
// An archive without an end mark is taken for cut off, although tar takes one that
// ends between two members.
package tar
