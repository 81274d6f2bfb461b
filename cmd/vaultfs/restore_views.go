package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"vaultfs/repo"
	"vaultfs/restore/tree"
)

// wouldDo is a line of a dry run. What stays as it is has none: it is counted
// at the end.
func (p *printer) wouldDo(action tree.Action, path string) {
	if action == tree.Keep {
		return
	}
	if p.json {
		p.object(actionJSON{string(action), path, bytesOf(path)})
		return
	}
	p.text("%-8s %s\n", action, oneLine(path))
}

// actionJSON is a line of a dry run.
type actionJSON struct {
	Event     string `json:"event"` // "create", "replace", "remove"
	Path      string `json:"path"`  // of a directory with a slash at its end
	PathBytes []byte `json:"path_bytes,omitempty"`
}

// restoredTreeJSON ends a restore of a tree.
type restoredTreeJSON struct {
	Event    string     `json:"event"` // "summary"
	Snapshot string     `json:"snapshot"`
	Path     string     `json:"path"` // in the snapshot
	To       string     `json:"to"`
	DryRun   bool       `json:"dry_run"` // the counts are of what would be done
	Files    int64      `json:"files"`
	Dirs     int64      `json:"dirs"`
	Others   int64      `json:"others"`
	Links    int64      `json:"links"`
	Replaced int64      `json:"replaced"`
	Kept     int64      `json:"kept"`
	Removed  int64      `json:"removed"`
	Bytes    int64      `json:"bytes"`
	Lost     []lossJSON `json:"lost"`
	Seconds  float64    `json:"seconds"`
}

type lossJSON struct {
	What  string     `json:"what"`
	Count int64      `json:"count"`
	First []caseJSON `json:"first"` // some of them
}

type caseJSON struct {
	Path      string `json:"path"`
	PathBytes []byte `json:"path_bytes,omitempty"` // in base64, if the path is no UTF-8
	Reason    string `json:"reason"`
}

// bytesOf is what JSON cannot hold as a string.
func bytesOf(path string) []byte {
	if utf8.ValidString(path) {
		return nil
	}
	return []byte(path)
}

func toLossesJSON(failures []tree.Failure) []lossJSON {
	j := []lossJSON{}
	for _, f := range failures {
		l := lossJSON{What: string(f.Loss), Count: f.Count}
		for _, c := range f.First {
			l.First = append(l.First, caseJSON{c.Path, bytesOf(c.Path), c.Err.Error()})
		}
		j = append(j, l)
	}
	return j
}

// restoredTree tells what became of a restore of a tree.
func (p *printer) restoredTree(s *repo.Snapshot, at *treePlace, o restoreOptions, r *tree.Report, took time.Duration) {
	if p.json {
		p.object(restoredTreeJSON{"summary", s.ID, at.shown(""), o.to, o.dry, r.Files, r.Dirs, r.Others, r.Links, r.Replaced, r.Kept, r.Removed,
			r.Bytes, toLossesJSON(r.Failures), took.Seconds()})
		return
	}
	for _, f := range r.Failures {
		p.warn(lossSentence(f))
	}
	if o.dry {
		p.remark("would restore %s: %s, %s%s; nothing was changed\n", oneLine(o.to), counted(r), iec(r.Bytes), also(r))
		return
	}
	p.remark("restored %s: %s, %s written, %s/s%s\n", oneLine(o.to), counted(r), iec(r.Bytes), iec(int64(float64(r.Bytes)/max(took.Seconds(), 1e-3))), also(r))
	p.remark("snapshot %s of %s, %s, in %s\n", s.Short(), s.Source, localTime(s.Time), round(took))
}

// counted tells what was made.
func counted(r *tree.Report) string {
	parts := []string{plural(r.Files, "file", "files"), plural(r.Dirs, "directory", "directories")}
	if r.Others > 0 {
		parts = append(parts, plural(r.Others, "other entry", "other entries"))
	}
	text := strings.Join(parts, ", ")
	if r.Links > 0 {
		text += fmt.Sprintf(" (of which %s of another)", plural(r.Links, "is a hard link", "are hard links"))
	}
	return text
}

// also tells what happened to what existed.
func also(r *tree.Report) (text string) {
	for _, part := range []struct {
		n    int64
		what string
	}{{r.Replaced, "replaced"}, {r.Kept, "kept as they were"}, {r.Removed, "removed"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return text
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// lossSentence tells of a loss, and which entries it befell: all have a reason,
// but it is mostly the same.
func lossSentence(f tree.Failure) string {
	const most = 5
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: ", f.Loss, plural(f.Count, "entry", "entries"))
	last := ""
	for i, c := range f.First[:min(len(f.First), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(oneLine(c.Path))
		if reason := c.Err.Error(); reason != last {
			fmt.Fprintf(&b, " (%s)", oneLine(reason))
			last = reason
		}
	}
	if more := f.Count - int64(min(len(f.First), most)); more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}
