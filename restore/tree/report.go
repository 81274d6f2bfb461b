package tree

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"vaultfs/repo"
)

// A Loss is a way in which what was restored is not as it was stored.
type Loss string

// The losses.
const (
	Damaged     Loss = "damaged in the repository"
	NotRestored Loss = "not restored"
	NotRemoved  Loss = "not removed"
	DeviceLost  Loss = "devices not made"
	LinkLost    Loss = "hard links made files of their own"
	OwnerLost   Loss = "owners not set"
	ModeLost    Loss = "permissions not set"
	ACLLost     Loss = "access control lists not set"
	XattrLost   Loss = "extended attributes not set"
	TimeLost    Loss = "times not set"
)

// A Failure is a loss with the entries that it befell.
type Failure struct {
	Loss  Loss
	Count int64
	First []Case // not more than MaxCases
}

// A Case is one entry of a Failure.
type Case struct {
	Path string
	Err  error
}

// MaxCases is how many entries of a Failure are named.
const MaxCases = 10

// A Report tells what became of a restore.
type Report struct {
	Files, Dirs, Others int64 // that were made, replaced ones and hard links included; with DryRun, that would be
	Links               int64 // of Files and Others: further names of one that was made
	Replaced            int64 // of Files and Others: what stood there is gone
	Kept                int64 // what existed and was left alone, directories not counted
	Removed             int64
	Bytes               int64     // of data written; with DryRun the sizes of the files
	Failures            []Failure // the worst first; a file may count in several
}

// Damage returns an error that is a repo.ErrDamaged if the repository could not
// give back all that is stored, else nil.
func (r *Report) Damage() error {
	for _, f := range r.Failures {
		if f.Loss == Damaged {
			return f.First[0].Err
		}
	}
	return nil
}

// Lost is the number of entries that are not there because of an error.
func (r *Report) Lost() (n int64) {
	for _, f := range r.Failures {
		if f.Loss == Damaged || f.Loss == NotRestored || f.Loss == DeviceLost {
			n += f.Count
		}
	}
	return n
}

// losses orders them, the worst first.
var losses = []Loss{Damaged, NotRestored, NotRemoved, DeviceLost, LinkLost, OwnerLost, ModeLost, ACLLost, XattrLost, TimeLost}

// A tally collects a Report.
type tally struct {
	mu       sync.Mutex
	report   Report
	failures map[Loss]*Failure
	each     func(Action, string)
}

// done counts an entry that was made, or was only to be in a dry run.
func (t *tally) done(a Action, path string, e *repo.Entry, link bool, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.report
	switch {
	case e.IsDir():
		r.Dirs++
	case e.IsRegular():
		r.Files++
	default:
		r.Others++
	}
	if link {
		r.Links++
	}
	if a == Replace {
		r.Replaced++
	}
	r.Bytes += bytes
	t.tell(a, path)
}

func (t *tally) kept(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Kept++
	t.tell(Keep, path)
}

func (t *tally) removed(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Removed++
	t.tell(Remove, path)
}

func (t *tally) tell(a Action, path string) {
	if t.each != nil {
		t.each(a, path)
	}
}

// lose records a loss. Damage is told from an entry that is not restored for
// another reason.
func (t *tally) lose(l Loss, path string, err error) {
	if l == NotRestored && errors.Is(err, repo.ErrDamaged) {
		l = Damaged
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.failures[l]
	if f == nil {
		f = &Failure{Loss: l}
		t.failures[l] = f
	}
	f.Count++
	if len(f.First) < MaxCases {
		f.First = append(f.First, Case{path, err})
	}
}

// finish returns the report.
func (t *tally) finish() *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.failures {
		t.report.Failures = append(t.report.Failures, *f)
	}
	slices.SortFunc(t.report.Failures, func(a, b Failure) int {
		return cmp.Compare(slices.Index(losses, a.Loss), slices.Index(losses, b.Loss))
	})
	return &t.report
}
