package pg

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// Facts are what a server tells of itself and of a database.
type Facts struct {
	Database   string      `json:"database"`
	Server     Server      `json:"server"`
	Encoding   string      `json:"encoding"`
	Collate    string      `json:"collate"`
	CType      string      `json:"ctype"`
	Provider   string      `json:"locale_provider"` // "libc", "icu", "builtin"
	Locale     string      `json:"locale"`          // of icu or builtin
	Size       int64       `json:"size"`            // bytes that the database takes on the server
	Extensions []Extension `json:"extensions"`
}

// A Server is a PostgreSQL server.
type Server struct {
	Version string  `json:"version"` // "15.18 (Debian 15.18-0+deb12u1)"
	Number  Version `json:"number"`
	// System identifies the cluster: its database system identifier; "" where
	// the server does not tell.
	System string `json:"system,omitempty"`
}

// An Extension is installed in a database.
type Extension struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Schema  string `json:"schema"`
}

// Server asks what server this is.
func (s *Session) Server() (v Server, err error) {
	err = s.Row(`SELECT row_to_json(t) FROM (SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number) t`, &v)
	if err != nil || v.Number < 90600 {
		return v, err
	}
	var id struct{ System string }
	if s.Row(`SELECT row_to_json(t) FROM (SELECT system_identifier::text AS system FROM pg_control_system()) t`, &id) == nil {
		v.System = id.System // some hosters do not let users ask
	}
	return v, nil
}

// Facts asks about the database that the session is connected to.
func (s *Session) Facts() (f Facts, err error) {
	if f.Server, err = s.Server(); err != nil {
		return f, err
	}
	var d struct {
		Name     string `json:"datname"`
		Collate  string `json:"datcollate"`
		CType    string `json:"datctype"`
		Provider string `json:"datlocprovider"` // since 15
		ICU15    string `json:"daticulocale"`   // 15 and 16
		Locale   string `json:"datlocale"`      // since 17
	}
	// All columns, since which there are depends on the version.
	if err := s.Row(`SELECT row_to_json(d) FROM pg_database d WHERE datname = current_database()`, &d); err != nil {
		return f, err
	}
	f.Database, f.Collate, f.CType = d.Name, d.Collate, d.CType
	f.Provider = cmp.Or(map[string]string{"i": "icu", "b": "builtin"}[d.Provider], "libc")
	f.Locale = cmp.Or(d.ICU15, d.Locale)
	var more struct {
		Encoding string
		Size     int64
	}
	err = s.Row(`SELECT row_to_json(t) FROM (SELECT pg_encoding_to_char(encoding) AS encoding, pg_database_size(oid) AS size FROM pg_database WHERE datname = current_database()) t`, &more)
	if err != nil {
		return f, err
	}
	f.Encoding, f.Size = more.Encoding, more.Size
	f.Extensions, err = s.extensions()
	return f, err
}

func (s *Session) extensions() (list []Extension, err error) {
	err = s.Rows(`SELECT row_to_json(t) FROM (SELECT extname AS name, extversion AS version, nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace ORDER BY extname) t`,
		func(row []byte) error {
			var e Extension
			err := json.Unmarshal(row, &e)
			list = append(list, e)
			return err
		})
	return list, err
}

// Unlogged lists the unlogged tables of a standby, which has not got their rows;
// there are none on a server that can be written to.
func (s *Session) Unlogged() (tables []Table, err error) {
	err = s.Rows(`SELECT row_to_json(t) FROM (SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pg_is_in_recovery() AND c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY n.nspname, c.relname) t`,
		func(row []byte) error {
			var t Table
			err := json.Unmarshal(row, &t)
			tables = append(tables, t)
			return err
		})
	return tables, err
}

// Databases lists the databases that can be connected to, without templates.
func (s *Session) Databases() (names []string, err error) {
	err = s.Rows(`SELECT row_to_json(t) FROM (SELECT datname AS name FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY datname) t`,
		func(row []byte) error {
			var d struct{ Name string }
			err := json.Unmarshal(row, &d)
			names = append(names, d.Name)
			return err
		})
	return names, err
}

// Begin starts a transaction that sees one state of the database, for everybody
// who is given its snapshot as long as the session is open.
func (s *Session) Begin(server Server) (snapshot string, err error) {
	timeouts := ""
	if server.Number >= 90600 {
		timeouts = "SET idle_in_transaction_session_timeout = 0; "
	}
	if server.Number >= 170000 {
		timeouts += "SET transaction_timeout = 0; "
	}
	if err := s.Do(timeouts + "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"); err != nil {
		return "", err
	}
	var t struct{ Snapshot string }
	if err := s.Row(`SELECT row_to_json(t) FROM (SELECT pg_export_snapshot() AS snapshot) t`, &t); err != nil {
		return "", fmt.Errorf("the server does not share what a transaction sees: %w", err)
	}
	// From now on a statement that fails does not end the transaction.
	_, err = s.ask(`\set ON_ERROR_ROLLBACK on`)
	return t.Snapshot, err
}
