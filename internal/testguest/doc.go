// Package testguest gives tests real guests under the real libvirtd: small bootable Debian disks with a guest agent, made
// once a machine by make-guest.sh, which also works alone.
//
// Guests are emulated (TCG), so that they run wherever QEMU does; one boots in about 15 s. Everything here goes through
// virsh and not through libvirt's library, so that what a test observes does not come from the code under test.
package testguest
