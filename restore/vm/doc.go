// Package vm makes a guest of a snapshot again: its disks, firmware variables and TPM state at their places, and a
// domain defined from its XML.
package vm
