package pg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The names of the items of a snapshot beside the dump.
const (
	GlobalsName = "globals.sql"
	ReportName  = "report.json"
	ReportText  = "report.md"
)

// The forms of a dump.
const (
	Custom = "custom" // of pg_dump --format=custom
	Script = "sql"    // statements
)

// A Report is what a snapshot of a database tells of it, as report.json.
type Report struct {
	Facts
	// Tables are as the dump has them: counted in the transaction that it was
	// made in. Nil if nothing is known of them.
	Tables []Table `json:"tables"`
	Dump   Dump    `json:"dump"`
	// Globals says what globals.sql is: "complete", or what it lacks and why.
	Globals string `json:"globals"`
}

// A Dump tells of a dump and of how it was made.
type Dump struct {
	Item    string   `json:"item"`   // its name in the snapshot: "orders.dump"
	Form    string   `json:"format"` // Custom or Script
	Program string   `json:"program"`
	Options []string `json:"options,omitempty"`
	File    string   `json:"file,omitempty"` // that it was read from
	// Compression of an archive's data: "none", "gzip", …
	Compression string    `json:"compression,omitempty"`
	Size        int64     `json:"size"` // bytes
	Time        time.Time `json:"time"` // of what it shows
	Seconds     float64   `json:"seconds,omitempty"`
	Owners      []string  `json:"owners,omitempty"` // roles that own what is in it
	// OfDatabase is what it holds of the database itself, which a restore into a
	// database of another name leaves out: "settings", "privileges", "comment".
	OfDatabase []string `json:"of_database,omitempty"`
}

// GlobalsComplete is what Report.Globals says of a globals.sql that lacks
// nothing.
const GlobalsComplete = "complete"

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Database %s\n\n", cell(r.Database))
	row := func(what, value string) {
		if value != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", what, cell(value))
		}
	}
	b.WriteString("| | |\n|---|---|\n")
	row("state of", r.Dump.Time.UTC().Format(time.DateTime)+" UTC")
	row("server", r.Server.Version)
	row("cluster", r.Server.System)
	row("encoding", r.Encoding)
	row("collation", r.Collate)
	row("character type", r.CType)
	if r.Provider != "libc" {
		row("locale", strings.TrimSpace(r.Provider+" "+r.Locale))
	}
	if r.Size > 0 {
		row("size on the server", fmt.Sprintf("%d bytes", r.Size))
	}
	row("dump", fmt.Sprintf("%s, %d bytes", r.Dump.Item, r.Dump.Size))
	row("read from", r.Dump.File)
	row("made by", r.Dump.Program)
	row("options", strings.Join(r.Dump.Options, " "))
	row("compression", r.Dump.Compression)
	if r.Dump.Seconds > 0 {
		row("duration", fmt.Sprintf("%.1f s", r.Dump.Seconds))
	}
	row("roles and tablespaces", r.Globals)
	r.writeExtensions(&b)
	r.writeTables(&b)
	return b.String()
}

func (r *Report) writeExtensions(b *strings.Builder) {
	if len(r.Extensions) == 0 {
		return
	}
	b.WriteString("\n## Extensions\n\n| name | version | schema |\n|---|---|---|\n")
	for _, e := range r.Extensions {
		fmt.Fprintf(b, "| %s | %s | %s |\n", cell(e.Name), cell(e.Version), cell(e.Schema))
	}
}

func (r *Report) writeTables(b *strings.Builder) {
	if len(r.Tables) == 0 {
		return
	}
	b.WriteString("\n## Tables\n\n| table | rows |\n|---|---:|\n")
	for _, t := range r.Tables {
		rows := fmt.Sprint(t.Rows)
		switch {
		case t.Estimate && t.Rows < 0:
			rows = "not known: " + cell(t.Why)
		case t.Estimate:
			rows = fmt.Sprintf("about %d, not counted: %s", t.Rows, cell(t.Why))
		}
		fmt.Fprintf(b, "| %s | %s |\n", cell(t.String()), rows)
	}
}

// cell keeps a name within its cell of a table, and from whoever shows it on a
// terminal.
func cell(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '|':
			b.WriteString(`\|`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// SortTables orders tables by name, for people.
func SortTables(tables []Table) {
	slices.SortFunc(tables, func(a, b Table) int { return strings.Compare(a.String(), b.String()) })
}
