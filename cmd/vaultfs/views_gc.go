package main

import (
	"errors"
	"fmt"
	"strings"

	"vaultfs/repo"
)

// gcPlan tells what a collection means to do. As JSON it is told at the end.
func (p *printer) gcPlan(g *repo.GCPlan, o repo.GCOptions) {
	if p.json {
		return
	}
	if len(g.Blocked) == 0 {
		p.fact("needed", "%s in %s, by %s", iec(g.UsedBytes), count(g.Chunks, "chunk"), count(int64(g.Snapshots), "snapshot"))
	}
	p.fact("takes", "%s in %s", iec(g.PackBytes), packs(g.Packs))
	if g.Forgotten > 0 {
		p.fact("forgotten", "%s", count(int64(g.Forgotten), "snapshot"))
	}
	if g.Unlisted.Packs > 0 {
		p.fact("left over", "%s in %s of ingests that were killed: removed", iec(g.Unlisted.Bytes), packs(g.Unlisted.Packs))
	}
	if len(g.Blocked) == 0 {
		p.gcPacks(g, o)
	}
	p.waiting(g.Waiting)
	p.fact("frees", "%s now", iec(max(0, g.FreedNow)))
	p.gcTrouble(g)
	if o.DryRun {
		p.remark("nothing was changed\n")
	}
}

// fact prints a line of a plan.
func (p *printer) fact(name, format string, args ...any) {
	p.remark("%-12s"+format+"\n", append([]any{name}, args...)...)
}

// gcPacks tells what becomes of the packs.
func (p *printer) gcPacks(g *repo.GCPlan, o repo.GCOptions) {
	if g.Dead.Packs > 0 {
		p.fact("unused", "%s in %s: removed", iec(g.Dead.Bytes), packs(g.Dead.Packs))
	}
	if g.Rewrite.Packs > 0 {
		p.fact("rewritten", "%s in %s: what is needed of them, %s, is copied, and they are removed",
			iec(g.Rewrite.Bytes), packs(g.Rewrite.Packs), iec(g.CopyBytes))
	}
	if g.TakenBack.Packs > 0 {
		p.fact("taken back", "%s in %s: a snapshot needs them after all", iec(g.TakenBack.Bytes), packs(g.TakenBack.Packs))
	}
	if g.Kept.Packs > 0 {
		p.fact("stays", "%s unused in %s: %s", iec(g.KeptBytes), packs(g.Kept.Packs), whyKept(o))
	}
}

// whyKept says why unused bytes stay.
func whyKept(o repo.GCOptions) string {
	why := fmt.Sprintf("less than %s of each (--max-unused)", share{&o.MaxUnused})
	if o.MaxRewrite >= 0 {
		why += fmt.Sprintf(", or more than %s to copy (--max-rewrite)", iec(o.MaxRewrite))
	}
	return why
}

// waiting tells what cannot be freed yet, and for whom it waits.
func (p *printer) waiting(list []repo.Waiting) {
	for _, w := range list {
		what := ""
		if w.Packs > 0 {
			what = fmt.Sprintf("%s in %s: ", iec(w.Bytes), packs(w.Packs))
		}
		p.fact("waiting", "%s%s", what, oneLine(w.Reason))
	}
}

// gcTrouble tells of what keeps a collection from removing anything, and of what
// is lost. It is never left out.
func (p *printer) gcTrouble(g *repo.GCPlan) {
	for _, err := range g.Blocked {
		p.text("%-12s%s\n", "blocked by", oneLine(err.Error()))
	}
	if len(g.Blocked) > 0 {
		p.text("nothing that might be needed is removed while that is so; %s\n", wayOut(g.Blocked))
	}
	if g.Lost > 0 {
		p.text("lost        %s that snapshots need and no pack holds: `vaultfs verify` names the files and disks; to get them back,\n"+
			"            back the same sources up again while they hold them, or see `vaultfs repair --help`\n", count(g.Lost, "chunk"))
	}
}

// collected tells what a collection has done.
func (p *printer) collected(c collection) {
	if p.json {
		p.object(toGCJSON(c))
		return
	}
	if c.DryRun {
		return
	}
	p.remark("%s\n", c.sentence())
	if len(c.Waiting) > 0 {
		p.waiting(c.Waiting)
		p.remark("the next gc frees what is waiting, once that has ended\n")
	}
	if c.Unfinished != "" {
		p.remark("not all was done: %s; the next gc goes on\n", c.Unfinished)
	}
}

// sentence sums a collection up: "freed 640.0 MiB in 12s: 52 packs and 5 forgotten
// snapshots removed, 66.2 MiB written".
func (c collection) sentence() string {
	var did []string
	if c.Packs > 0 {
		did = append(did, packs(c.Packs))
	}
	if c.Manifests > 0 {
		did = append(did, count(int64(c.Manifests), "forgotten snapshot"))
	}
	what := "nothing had to be removed"
	switch {
	case len(did) > 0:
		what = strings.Join(did, " and ") + " removed"
	case c.Freed > 0: // index runs were put together, or what killed sessions left is gone
		what = "no pack had to be removed"
	}
	if c.Written > 0 {
		what += ", " + iec(c.Written) + " written"
	}
	freed := "freed " + iec(c.Freed)
	if c.Freed < 0 {
		freed = "freed nothing, it takes " + iec(-c.Freed) + " more for now,"
	}
	return fmt.Sprintf("%s in %s: %s", freed, round(c.took), what)
}

func packs(n int) string { return count(int64(n), "pack") }

type packCountJSON struct {
	Packs int   `json:"packs"`
	Bytes int64 `json:"bytes"`
}

type waitingJSON struct {
	Bytes   int64        `json:"bytes"`
	Packs   int          `json:"packs"`
	Reason  string       `json:"reason"`
	Session *sessionJSON `json:"session"` // that has to end; null if it is something else
}

type gcPlanJSON struct {
	Snapshots int           `json:"snapshots"`
	Forgotten int           `json:"forgotten"`
	Chunks    int64         `json:"chunks"`
	UsedBytes int64         `json:"used_bytes"`
	Packs     int           `json:"packs"`
	PackBytes int64         `json:"pack_bytes"`
	Dead      packCountJSON `json:"dead"`
	Rewrite   packCountJSON `json:"rewrite"`
	CopyBytes int64         `json:"copy_bytes"`
	Kept      packCountJSON `json:"kept"`
	KeptBytes int64         `json:"kept_bytes"`
	Unlisted  packCountJSON `json:"unlisted"`
	TakenBack packCountJSON `json:"taken_back"`
	FreedNow  int64         `json:"freed_now"`
	Waiting   []waitingJSON `json:"waiting"`
	Blocked   []string      `json:"blocked"`
	Lost      int64         `json:"lost"`
}

// gcJSON ends a collection.
type gcJSON struct {
	Event      string        `json:"event"` // "gc"
	DryRun     bool          `json:"dry_run"`
	Plan       gcPlanJSON    `json:"plan"`
	Freed      int64         `json:"freed"`
	Deleted    int64         `json:"deleted"`
	Written    int64         `json:"written"`
	Packs      int           `json:"packs"`
	Manifests  int           `json:"manifests"`
	Waiting    []waitingJSON `json:"waiting"`
	Unfinished string        `json:"unfinished"`
	Seconds    float64       `json:"seconds"`
}

func toGCJSON(c collection) gcJSON {
	g := c.Plan
	blocked := []string{}
	for _, err := range g.Blocked {
		blocked = append(blocked, err.Error())
	}
	return gcJSON{
		Event: "gc", DryRun: c.DryRun, Freed: c.Freed, Deleted: c.Deleted, Written: c.Written, Packs: c.Packs, Manifests: c.Manifests,
		Waiting: toWaitingJSON(c.Waiting), Unfinished: c.Unfinished, Seconds: c.took.Seconds(),
		Plan: gcPlanJSON{g.Snapshots, g.Forgotten, g.Chunks, g.UsedBytes, g.Packs, g.PackBytes, packCountJSON(g.Dead), packCountJSON(g.Rewrite), g.CopyBytes,
			packCountJSON(g.Kept), g.KeptBytes, packCountJSON(g.Unlisted), packCountJSON(g.TakenBack), g.FreedNow, toWaitingJSON(g.Waiting), blocked, g.Lost},
	}
}

func toWaitingJSON(list []repo.Waiting) []waitingJSON {
	j := []waitingJSON{}
	for _, w := range list {
		of := waitingJSON{w.Bytes, w.Packs, w.Reason, nil}
		if w.Session != nil {
			s := toSessionJSON(*w.Session)
			of.Session = &s
		}
		j = append(j, of)
	}
	return j
}

// wayOut says what to do about what blocks a collection.
func wayOut(blocked []error) string {
	if errors.Is(errors.Join(blocked...), repo.ErrDamaged) {
		return "`vaultfs verify` tells what is lost with the damage, and `vaultfs repair --help` how to mend it or set it aside; " +
			"then run gc again"
	}
	return "install a newer vaultfs to collect in this repository"
}
