package pg

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Table is how many rows a table has.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	// Estimate says that Rows is the server's own guess, not a count; -1 is that
	// not even that is known.
	Estimate bool   `json:"estimate,omitempty"`
	Why      string `json:"why,omitempty"` // it was not counted
}

func (t Table) String() string { return t.Schema + "." + t.Name }

// tablesQuery lists the tables whose rows a dump holds: ordinary ones and
// partitions, without what belongs to the system or to an extension. The
// smallest come first.
const tablesQuery = `SELECT row_to_json(t) FROM (
SELECT n.nspname AS schema, c.relname AS name, c.reltuples::bigint AS rows FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relpages, n.nspname, c.relname) t`

// Tables lists the tables of the database with the server's guesses.
func (s *Session) Tables() (tables []Table, err error) {
	tables = []Table{} // none is known to be none
	err = s.Rows(tablesQuery, func(row []byte) error {
		t := Table{Estimate: true}
		err := json.Unmarshal(row, &t)
		t.Rows = max(t.Rows, -1)
		tables = append(tables, t)
		return err
	})
	return tables, err
}

// Count counts the rows of tables. What cannot be counted before the deadline,
// or at all, keeps its guess. Progress is called for each; an error is that the
// session was lost.
func (s *Session) Count(tables []Table, deadline time.Time) error {
	for i := range tables {
		t := &tables[i]
		left := time.Until(deadline).Milliseconds()
		if left <= 0 {
			t.Why = "there was no time left"
			continue
		}
		var got struct{ Rows int64 }
		err := s.Do(fmt.Sprintf("SET statement_timeout = %d", min(left, 1<<31-1)))
		if err == nil {
			err = s.Row(fmt.Sprintf("SELECT row_to_json(t) FROM (SELECT count(*) AS rows FROM ONLY %s.%s) t", Ident(t.Schema), Ident(t.Name)), &got)
		}
		var refused *SQLError
		switch {
		case err == nil:
			t.Rows, t.Estimate = got.Rows, false
		case errors.As(err, &refused) && refused.State == "57014":
			t.Why = "it took too long"
		case errors.As(err, &refused):
			t.Why = refused.Message
		default:
			return err
		}
	}
	return nil
}
