// Package virt is the connection to the libvirt daemon of this host, and its errors as sentences.
package virt
