package vm

import "fmt"

// dropCheckpoint removes the checkpoint of a backup that came to nothing.
func (r *run) dropCheckpoint() error {
	name := r.journal.entry.Checkpoint
	if name == "" {
		return nil
	}
	l, err := newLink(r.domain)
	if err != nil {
		return err
	}
	defer l.close()
	if active, err := l.reach().IsActive(); err == nil && active {
		if err := removeCheckpoint(l.reach(), name); err != nil {
			return fmt.Errorf("VM %q: removing the checkpoint %s: %w; the next backup does it", r.name, name, err)
		}
	}
	return r.journal.update(func(e *entry) { e.Checkpoint = "" })
}

// keptCheckpoint is the checkpoint that the next backup can start from; "" and why if there is none.
func (r *run) keptCheckpoint() (name, why string) {
	switch made := r.journal.entry.Checkpoint; {
	case made != "":
		return made, ""
	case r.result.Mode == ModeLive && r.plan.unmade != "":
		return "", r.plan.unmade
	case r.plan.from != "":
		return r.plan.from, ""
	}
	return "", "there is none"
}

// keepCheckpoint makes the checkpoint that is kept the only one of this repository, of this source. Old ones that cannot
// be removed harm nothing: the next backup tries again.
func (r *run) keepCheckpoint() {
	made := r.journal.entry.Checkpoint
	r.result.Checkpoint, _ = r.keptCheckpoint()
	if err := r.journal.update(func(e *entry) { e.Checkpoint = "" }); err != nil {
		r.result.Warnings = append(r.result.Warnings, err.Error())
	}
	if r.result.Mode == ModeOffline || made == "" && r.plan.unmade == "" {
		return // what there is is of use still, or cannot be removed now
	}
	l, err := newLink(r.domain)
	if err != nil {
		return
	}
	defer l.close()
	for _, old := range r.plan.old {
		if old == made {
			continue
		}
		if err := removeCheckpoint(l.reach(), old); err != nil {
			r.result.Notes = append(r.result.Notes, fmt.Sprintf("the old checkpoint %s could not be removed: %v", old, err))
		}
	}
}
