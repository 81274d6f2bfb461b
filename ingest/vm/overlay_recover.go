package vm

// overlays gives the disks their own images back. What is done in which state is told in overlay_merge.go.
func (f *fixer) overlays() error {
	unnamed := f.unname()
	if len(f.journal.entry.Overlays) == 0 {
		return unnamed
	}
	m := newMerger(f.link, f.journal)
	m.did = f.did
	failed := m.all()
	// A full file system is what it stalls of; what was kept there is gone now.
	resumed, err := resumeStalled(f.link.reach(), f.journal.entry.VM)
	if resumed {
		f.did("resumed the guest, which had been paused since the file system of its overlays was full")
	}
	return oneLine(unnamed, failed, err)
}
