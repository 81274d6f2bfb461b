// Package rsync backs up a directory of this or another host through a mirror
// that the real rsync keeps.
package rsync
