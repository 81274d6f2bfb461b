// Package retention decides which snapshots of a source are kept, and why. It
// reads no clock and no store: the same input has the same answer.
package retention
