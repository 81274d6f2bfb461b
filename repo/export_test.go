package repo

// SmallPacks makes sessions write packs of about 64 KiB, list each at once and
// merge their runs often, until it is undone.
func SmallPacks() (undo func()) {
	target, bytes, merge := packTarget, runBytes, mergeRuns
	packTarget, runBytes, mergeRuns = 64<<10, 1, 3
	return func() { packTarget, runBytes, mergeRuns = target, bytes, merge }
}

// ResolveIn is Resolve among snapshots that are given.
var ResolveIn = resolve
