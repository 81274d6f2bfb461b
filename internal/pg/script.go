package pg

import "strings"

// The kinds of dump that consist of SQL statements. A header line has the kind's
// words, and the line that says it is complete too.
const (
	DatabaseDump = "PostgreSQL database dump"
	ClusterDump  = "PostgreSQL database cluster dump"
)

// ScriptKind is the kind that the first lines of a script tell; "" for none.
func ScriptKind(head []byte) string {
	for line := range strings.Lines(string(head)) {
		switch line = strings.TrimSpace(line); line {
		case "", "--":
			continue
		case "-- " + DatabaseDump:
			return DatabaseDump
		case "-- " + ClusterDump:
			return ClusterDump
		}
		return ""
	}
	return ""
}
