// Package vm makes a guest of a snapshot again: its disks, firmware variables and TPM state at their places, and a
// domain defined from its XML.
//
// First a plan is worked out: what the domain is called, where each file goes, whether all of that is free, fits, and
// can be written; what the host lacks is warned of. The definition is edited as a tree, so that what is not understood
// stays. It was written by whoever wrote the snapshot: names in it become parts of paths only if they are plain, its
// size and depth are bounded, and a full path in it is used only where nothing is, and where this host keeps such files.
// What it has the guest reach of the host is warned of.
//
// Then the plan is carried out: disks, NVRAM, TPM state, definition, and at last the start. Each file appears under its
// name when it is whole (see package restore), and no step replaces anything. If a step fails, what the ones before it
// made is removed. After kill -9 files may be left, under temporary names (.vaultfs-restore-*) or their own, but no
// domain: the next try says which of them are in the way. What is defined is complete.
package vm
