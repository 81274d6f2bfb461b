package pg

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A Session is a connection to a server, which a psql of its own holds. It is
// not for concurrent use.
//
// psql reads statements from a pipe and answers in lines: rows, each a JSON object,
// and then a line with how the statement ended. Nothing that came from a server
// or a repository is ever part of a statement unless Ident or Literal has quoted
// it, since psql also obeys commands of its own.
type Session struct {
	Conn Conn   // with host and port as they were chosen, if several were given
	Host string // the server's host or the directory of its socket
	Port string

	process *Process
	in      io.WriteCloser
	out     *bufio.Reader
}

// maxRow bounds a row, in bytes.
const maxRow = 1 << 20

// Connect opens a session. If c names no database, libpq's default is used.
// Bindir is where psql is; "" looks for it.
func Connect(ctx context.Context, bindir string, c Conn) (*Session, error) {
	psql, err := findPsql(bindir)
	if err != nil {
		return nil, err
	}
	s := &Session{Conn: c, process: Command(ctx, c, psql, append(c.Arguments(), "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password")...)}
	if s.in, err = s.process.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.process.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReaderSize(out, maxRow)
	if err := s.process.cmd.Start(); err != nil {
		return nil, s.process.failure(err)
	}
	if err := s.begin(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// settings are what every session wants, as pg_dump does for itself. Who may make
// functions and operators in a database must not have them run by whoever backs it
// up (CVE-2018-1058), nor by a view that takes the place of a table that is about
// to be counted (CVE-2024-7348).
const settings = `SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET statement_timeout = 0; SET lock_timeout = 0; SET row_security = off;
SELECT pg_catalog.set_config('search_path', '', false);
SELECT pg_catalog.set_config(name, 'view, foreign-table', false) FROM pg_catalog.pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`

// begin waits for the connection, and sets what every session wants.
func (s *Session) begin() error {
	if err := s.Do(settings); err != nil {
		return err
	}
	lines, err := s.ask(`\echo :HOST` + "\n" + `\echo :PORT`)
	if err != nil {
		return err
	}
	if len(lines) != 2 {
		return fmt.Errorf("psql told its host and port in %d lines instead of 2", len(lines))
	}
	s.Host, s.Port = lines[0], lines[1]
	if strings.Contains(s.Conn.Get("host")+s.Conn.Get("port"), ",") { // the programs that follow go to the same
		s.Conn = s.Conn.With("host", s.Host).With("port", s.Port).With("hostaddr", "")
	}
	return nil
}

// Do runs statements that give no rows.
func (s *Session) Do(sql string) error { return s.Rows(sql, func([]byte) error { return nil }) }

// Row runs a query of one JSON object and decodes that into v.
func (s *Session) Row(sql string, v any) error {
	n := 0
	err := s.Rows(sql, func(row []byte) error {
		n++
		return json.Unmarshal(row, v)
	})
	if err == nil && n != 1 {
		return fmt.Errorf("the server answered %d rows where one belongs", n)
	}
	return err
}

// Rows runs a query whose rows are JSON objects, and gives each to use. What the
// server has against it is a SQLError; after any other error the session is lost.
func (s *Session) Rows(sql string, use func(row []byte) error) error {
	lines, err := s.ask(sql + ";")
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := use([]byte(line)); err != nil {
			return fmt.Errorf("what the server answered cannot be understood: %w", err)
		}
	}
	return nil
}

// endMark begins the line that ends an answer. No row begins with it.
const endMark = "end "

// ask sends what psql is to do and returns the lines that it prints.
func (s *Session) ask(text string) ([]string, error) {
	lines, state, err := s.send(text)
	switch {
	case err != nil:
		return nil, err
	case s.process.ctx.Err() != nil:
		return nil, s.process.ctx.Err()
	case state == "00000":
		return lines, nil
	case strings.HasPrefix(state, ":"): // a variable that it does not know
		return nil, errors.New("this psql is too old: install postgresql-client of version 11 or newer")
	}
	message, _, err := s.send(`\echo :LAST_ERROR_MESSAGE`)
	if err != nil {
		return nil, err
	}
	return nil, &SQLError{state, strings.Join(message, " ")}
}

// send is ask without a look at how the statement ended.
func (s *Session) send(text string) (lines []string, state string, err error) {
	if _, err := io.WriteString(s.in, text+"\n"+`\echo `+strings.TrimSpace(endMark)+` :SQLSTATE`+"\n"); err != nil {
		return nil, "", s.lost()
	}
	for {
		line, err := s.out.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return nil, "", fmt.Errorf("the server answered a row of more than %d bytes", maxRow)
		}
		if err != nil {
			return nil, "", s.lost()
		}
		text := strings.TrimSuffix(string(line), "\n")
		if state, ok := strings.CutPrefix(text, endMark); ok {
			return lines, state, nil
		}
		lines = append(lines, text)
	}
}

// lost is why psql went away.
func (s *Session) lost() error {
	_ = s.in.Close()
	_, _ = io.Copy(io.Discard, s.out)
	err := s.process.failure(s.process.cmd.Wait())
	if err == nil {
		err = errors.New("psql ended early")
	}
	return err
}

// Close ends the session, and with it what it has not committed.
func (s *Session) Close() {
	if s.process.cmd.ProcessState != nil {
		return
	}
	_ = s.in.Close()
	_ = s.process.cmd.Process.Kill() // a statement may be running
	_, _ = io.Copy(io.Discard, s.out)
	_ = s.process.cmd.Wait()
}

// A SQLError is what a server has against a statement.
type SQLError struct {
	State   string // SQLSTATE: "42P04"
	Message string
}

func (e *SQLError) Error() string { return e.Message }

// Ident quotes the name of a thing for SQL.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes a string for SQL, with standard_conforming_strings, as a Session
// sets them.
func Literal(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

// ConnectAny opens a session to a server by way of any database: the one that c
// or the environment names, or else one of those that nearly every server has.
func ConnectAny(ctx context.Context, bindir string, c Conn) (*Session, error) {
	if c.Get("dbname") != "" || c.Get("service") != "" || os.Getenv("PGSERVICE") != "" || os.Getenv("PGDATABASE") != "" {
		return Connect(ctx, bindir, c)
	}
	s, err := Connect(ctx, bindir, c.With("dbname", "postgres"))
	if err != nil && ctx.Err() == nil {
		var err1 error
		if s, err1 = Connect(ctx, bindir, c.With("dbname", "template1")); err1 == nil {
			return s, nil
		}
	}
	return s, err
}
