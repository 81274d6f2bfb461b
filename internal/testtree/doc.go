// Package testtree gives tests a tree of files that is nasty in every way that
// Linux allows, and compares trees in every way that Linux shows.
//
// Both need root: devices, owners, trusted attributes and capabilities are part
// of it.
package testtree
