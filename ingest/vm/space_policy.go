package vm

import "fmt"

// QEMU pauses a guest when a write fails for lack of space, and makes the write again when the guest goes on. Not so for a
// disk with <driver error_policy='report'>, of which the guest gets the error, or 'ignore', of which it loses the write
// without a word. Such a guest must not come to the end of the space, so more is kept free for it.
const (
	leastFreeUnpaused = 2 << 30
	mostFreeUnpaused  = 16 << 30
)

// keepFreeUnpaused is what a job leaves free of a file system of the given size, in bytes, for a guest with such a disk.
func keepFreeUnpaused(size int64) int64 {
	return min(max(size/10, leastFreeUnpaused), mostFreeUnpaused)
}

// unpaused tells whether a guest goes on when a write to the disk fails.
func (d *disk) unpaused() bool { return d.onError == "report" || d.onError == "ignore" }

// keepFree is how a job finds what it leaves free.
func (g *guest) keepFree(o *Options) func(size int64) int64 {
	if o.keepFree != nil {
		return o.keepFree
	}
	for i := range g.disks {
		if g.disks[i].unpaused() {
			return keepFreeUnpaused
		}
	}
	return keepFree
}

// tellUnpaused warns of disks of which the guest would see a lack of space.
func tellUnpaused(g *guest, r *Result) {
	for i := range g.disks {
		d := &g.disks[i]
		if !d.unpaused() {
			continue
		}
		what := "see its writes fail"
		if d.onError == "ignore" {
			what = "lose writes without knowing"
		}
		r.Warnings = append(r.Warnings, fmt.Sprintf("VM %q: disk %s has error_policy='%s': if the scratch space filled up during a backup, the guest would not be paused but %s; set that to 'stop' with virsh edit",
			g.name, d.target, d.onError, what))
	}
}
