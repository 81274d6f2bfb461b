package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"vaultfs/repo"
)

// status tells the state of a repository. What needs attention is never left
// out.
func (p *printer) status(path string, r *repo.Repo, st *repo.Status, concerns []concern) {
	if p.json {
		p.object(toStatusJSON(r, st, concerns))
		return
	}
	if !p.quiet {
		p.sources(st)
		p.facts(path, r, st)
	}
	for _, newer := range newerOf(st) {
		p.text("%s", wrapped("newer", newer+": not looked at; install a newer vaultfs"))
	}
	for _, c := range concerns {
		p.text("%s", wrapped(c.Kind, c.Text))
	}
	if len(concerns) == 0 {
		p.remark("nothing is overdue, and no damage is known\n")
	}
}

// sources is a table of what is backed up.
func (p *printer) sources(st *repo.Status) {
	if len(st.Sources) == 0 {
		p.remark("there are no snapshots yet\n\n")
		return
	}
	t := newTable("SOURCE", "NEWEST", "SNAPSHOTS", "SIZE", "STORED", "VERIFIED")
	var right []table.ColumnConfig
	for _, column := range []int{3, 4, 5} {
		right = append(right, table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(right)
	for _, s := range st.Sources {
		t.AppendRow(table.Row{oneLine(s.Source), ago(st.Now, s.Newest.Time), s.Snapshots, iec(s.Size), iec(s.Stored), verifiedWord(st.Now, s)})
	}
	p.table(t)
	p.text("\n")
}

// verifiedWord says when the newest snapshot of a source was verified.
func verifiedWord(now time.Time, s repo.SourceStatus) string {
	switch {
	case newestIsLost(s):
		return "damaged"
	case s.Verified.IsZero() || s.Verified.Equal(s.ReadWhole):
		return ago(now, s.Verified)
	}
	return ago(now, s.Verified) + "*"
}

// facts are those of the repository as a whole.
func (p *printer) facts(path string, r *repo.Repo, st *repo.Status) {
	fact := func(name, format string, args ...any) { p.text("%s", wrapped(name, fmt.Sprintf(format, args...))) }
	fact("repository", "%s, ID %s", path, r.ID()[:16])
	fact("data", "%s", dataFact(st))
	fact("on disk", "%s in %s; %s of %s are free", iec(st.Total), packs(st.Packs.Packs), iec(st.Free), iec(st.Capacity))
	if f := st.Forgotten; f.Snapshots > 0 {
		fact("forgotten", "%s, not collected yet; they added %s when they were made, what of that others do not need `vaultfs gc` frees",
			count(int64(f.Snapshots), "snapshot"), iec(f.Added))
	}
	if c := st.Condemned; c.Packs > 0 {
		fact("waiting", "%s in %s: %s", iec(c.Bytes), packs(c.Packs), waitsFor(st.CondemnedFor))
	}
	if u := st.Unlisted; u.Packs > 0 {
		fact("left over", "%s in %s of interrupted work; `vaultfs gc` removes them", iec(u.Bytes), packs(u.Packs))
	}
	if q := st.Quarantine; q.Packs > 0 {
		fact("set aside", "%s in %s in quarantine/; delete them there when you do not want to examine them", iec(q.Bytes), count(int64(q.Packs), "file"))
	}
	fact("read", "%s", readingFact(st))
	for _, s := range st.Sessions {
		if s.Alive {
			fact("at work", "%s", whoseSession(s))
		}
	}
	p.text("\n")
}

// dataFact tells how large the data are, and what sharing and compressing make
// of them.
func dataFact(st *repo.Status) string {
	said := fmt.Sprintf("%s in %s", iec(st.Logical), count(int64(st.Snapshots), "snapshot"))
	if st.Sums == nil || st.Sums.Chunks == 0 {
		return said
	}
	return said + fmt.Sprintf("; %s without repetitions and holes (%s), stored as %s (%s)",
		iec(st.Sums.Unique), ratio(st.Logical, st.Sums.Unique), iec(st.Sums.Stored), ratio(st.Sums.Unique, st.Sums.Stored))
}

func ratio(before, after int64) string {
	if after == 0 {
		return "nothing is left of it"
	}
	return fmt.Sprintf("%.1f:1", float64(before)/float64(after))
}

// waitsFor says what condemned packs wait for.
func waitsFor(sessions []repo.SessionInfo) string {
	if len(sessions) == 0 {
		return "no snapshot needs them; the next `vaultfs gc` removes them"
	}
	var names []string
	for _, s := range sessions {
		names = append(names, whoseSession(s))
	}
	return "no snapshot needs them, but who began before that was known may: " + first(names)
}

// readingFact tells when the data were last read.
func readingFact(st *repo.Status) string {
	r := st.Reading
	switch {
	case st.Packs.Packs == 0:
		return "there is nothing to read yet"
	case r.Oldest.IsZero():
		return "never since it was written, as far as is known"
	case r.Never.Packs > 0:
		return fmt.Sprintf("%s (%s) never, as far as is known; the others at some time, the oldest %s",
			packs(r.Never.Packs), iec(r.Never.Bytes), ago(st.Now, r.Oldest))
	}
	return "all of it at some time, the oldest " + ago(st.Now, r.Oldest)
}

// statusWidth is what a line may have.
const statusWidth = 79

// wrapped is a fact with its name before it, on as many lines as it takes. A
// `command` stays on one line, so that it can be copied.
func wrapped(name, fact string) string {
	const indent = 12
	var b strings.Builder
	line := fmt.Sprintf("%-*s", indent, name)
	for i, word := range wordsOf(fact) {
		if i > 0 && len([]rune(line))+1+len([]rune(word)) > statusWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = strings.Repeat(" ", indent)
		}
		if !strings.HasSuffix(line, " ") {
			line += " "
		}
		line += word
	}
	return b.String() + strings.TrimRight(line, " ") + "\n"
}

// wordsOf is strings.Fields, but a `command` is one word.
func wordsOf(s string) (words []string) {
	inside := false
	for _, word := range strings.Fields(s) {
		if inside {
			words[len(words)-1] += " " + word
		} else {
			words = append(words, word)
		}
		if strings.Count(word, "`")%2 == 1 {
			inside = !inside
		}
	}
	return words
}

type statusJSON struct {
	Repository  string             `json:"repository"` // its ID
	Time        time.Time          `json:"time"`
	Sources     []sourceStatusJSON `json:"sources"`
	Snapshots   int                `json:"snapshots"`
	Logical     int64              `json:"logical_bytes"`
	Sums        *sumsJSON          `json:"chunks"` // null with --no-ratio
	Packs       filesJSON          `json:"packs"`
	Total       int64              `json:"total_bytes"`
	Free        int64              `json:"free_bytes"`
	Capacity    int64              `json:"capacity_bytes"`
	Forgotten   forgottenJSON      `json:"forgotten"`
	Condemned   filesJSON          `json:"condemned"`
	CondemnedBy []sessionJSON      `json:"condemned_waits_for"`
	Unlisted    filesJSON          `json:"unlisted"`
	Quarantine  filesJSON          `json:"quarantine"`
	Reading     readingJSON        `json:"reading"`
	Sessions    []sessionJSON      `json:"sessions"`
	Damaged     []string           `json:"damaged"`
	Missing     []string           `json:"missing"`
	Newer       []string           `json:"newer,omitempty"`
	Concerns    []concern          `json:"concerns"`
}

type sourceStatusJSON struct {
	Source       string     `json:"source"`
	Kind         string     `json:"kind"`
	Newest       string     `json:"newest"`
	Time         time.Time  `json:"time"`
	AgeSeconds   int64      `json:"age_seconds"`
	Snapshots    int        `json:"snapshots"`
	Size         int64      `json:"size"`
	Stored       int64      `json:"stored"`
	Verified     *time.Time `json:"verified"`   // null: never
	ReadWhole    *time.Time `json:"read_whole"` // by verify; null: never
	Late         bool       `json:"late"`
	UsualSeconds int64      `json:"usual_seconds"` // between two snapshots; 0: unknown
}

type sumsJSON struct {
	Chunks int64 `json:"chunks"`
	Unique int64 `json:"unique_bytes"`
	Stored int64 `json:"stored_bytes"`
}

type filesJSON struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

type forgottenJSON struct {
	Snapshots int        `json:"snapshots"`
	Added     int64      `json:"added_bytes"`
	Oldest    *time.Time `json:"oldest"`
}

type readingJSON struct {
	Oldest       *time.Time `json:"oldest"`
	Never        filesJSON  `json:"never"`
	Overdue      filesJSON  `json:"overdue"`
	LimitSeconds int64      `json:"limit_seconds"`
}

func toStatusJSON(r *repo.Repo, st *repo.Status, concerns []concern) statusJSON {
	j := statusJSON{
		Repository: r.ID(), Time: st.Now, Sources: []sourceStatusJSON{}, Snapshots: st.Snapshots, Logical: st.Logical,
		Packs: fileCount(st.Packs), Total: st.Total, Free: st.Free, Capacity: st.Capacity,
		Forgotten: forgottenJSON{st.Forgotten.Snapshots, st.Forgotten.Added, timeOrNull(st.Forgotten.Oldest)},
		Condemned: fileCount(st.Condemned), CondemnedBy: toSessionsJSON(st.CondemnedFor),
		Unlisted: fileCount(st.Unlisted), Quarantine: fileCount(st.Quarantine),
		Reading:  readingJSON{timeOrNull(st.Reading.Oldest), fileCount(st.Reading.Never), fileCount(st.Reading.Overdue), int64(st.Reading.Limit.Seconds())},
		Sessions: toSessionsJSON(st.Sessions), Damaged: list(st.Damaged), Missing: list(st.Missing), Newer: newerOf(st),
		Concerns: append([]concern{}, concerns...),
	}
	if s := st.Sums; s != nil {
		j.Sums = &sumsJSON{s.Chunks, s.Unique, s.Stored}
	}
	for _, s := range st.Sources {
		j.Sources = append(j.Sources, sourceStatusJSON{
			s.Source, s.Kind, s.Newest.ID, s.Newest.Time, int64(st.Now.Sub(s.Newest.Time).Seconds()), s.Snapshots, s.Size, s.Stored,
			timeOrNull(s.Verified), timeOrNull(s.ReadWhole), s.Late, int64(s.Usual.Seconds()),
		})
	}
	return j
}

func fileCount(c repo.PackCount) filesJSON { return filesJSON{c.Packs, c.Bytes} }

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func toSessionsJSON(sessions []repo.SessionInfo) []sessionJSON {
	j := []sessionJSON{}
	for _, s := range sessions {
		j = append(j, toSessionJSON(s))
	}
	return j
}
