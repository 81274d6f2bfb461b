package measure

import "time"

// Growth is by how much a repository grows with each further backup, in bytes.
type Growth struct {
	Each     int64 // that a backup adds
	Month    int64 // that 30 days add
	Observed bool  // on generations of a disk; else reckoned from a share that changes
	Backups  int   // of a disk that Each is the mean of
}

// sameDisk is the share of a disk that was there before, from which on it is
// taken for a later generation of one of those. Another guest with the same
// operating system has been seen to share half.
const sameDisk = 0.75

// Later tells whether a disk looks like a later generation of one before.
func (d *Disk) Later() bool {
	return d.Used() > 0 && float64(d.Shared) >= sameDisk*float64(d.Used())
}

// Project tells what backups of these disks add, one made every so often: what the
// later generations among them did, or else if that share of what they use changes
// from one to the next.
func Project(disks []*Disk, every time.Duration, change float64) (g Growth) {
	var all Amount
	var used int64
	for _, d := range disks {
		all.Bytes, all.Stored = all.Bytes+d.New.Bytes, all.Stored+d.New.Stored
		if d.Later() {
			g.Backups++
			g.Each += d.New.Stored
		} else {
			used += d.Used()
		}
	}
	switch {
	case g.Backups > 0:
		g.Observed, g.Each = true, g.Each/int64(g.Backups)
	case all.Bytes > 0:
		g.Each = int64(change * float64(used) * float64(all.Stored) / float64(all.Bytes))
	}
	g.Month = int64(float64(g.Each) * float64(30*24*time.Hour) / float64(every))
	return g
}
