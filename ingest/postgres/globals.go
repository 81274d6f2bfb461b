package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"vaultfs/internal/pg"
)

// globals are the roles and tablespaces of a server.
type globals struct {
	script []byte // nil if there is none
	says   string // for the report
	lacks  string // a warning; "" for none
}

// maxGlobals bounds their size, in bytes: they are held in memory.
const maxGlobals = 256 << 20

// globalsOf returns the globals of the server that a session is connected to.
// They are fetched once for all databases of it.
func (d *dumper) globalsOf(ctx context.Context, s *pg.Session, programs *pg.Programs) (*globals, error) {
	if d.o.NoGlobals {
		return &globals{says: "left out, as was asked for"}, nil
	}
	server := s.Conn.With("dbname", "").With("host", s.Host).With("port", s.Port).String()
	if g := d.globals[server]; g != nil {
		return g, nil
	}
	g, err := fetchGlobals(ctx, s.Conn, programs)
	if err == nil {
		d.globals[server] = g
	}
	return g, err
}

// fetchGlobals runs pg_dumpall. A role that may not see the passwords leaves
// those out, and one that may see nothing leaves out all. The error is only that
// ctx is over.
func fetchGlobals(ctx context.Context, c pg.Conn, programs *pg.Programs) (*globals, error) {
	script, err := runGlobals(ctx, c, programs)
	if err == nil {
		return &globals{script: script, says: pg.GlobalsComplete}, nil
	}
	script, err2 := runGlobals(ctx, c, programs, "--no-role-passwords")
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err2 == nil:
		return &globals{script: script, says: "without the passwords of roles",
			lacks: fmt.Sprintf("the passwords of roles are not in %s, this user may not read them (%v): back up as a superuser to have them", pg.GlobalsName, err)}, nil
	}
	return &globals{says: "not there",
		lacks: fmt.Sprintf("roles and tablespaces were not backed up, there is no %s: %v", pg.GlobalsName, err2)}, nil
}

func runGlobals(ctx context.Context, c pg.Conn, programs *pg.Programs, more ...string) ([]byte, error) {
	args := append(append(c.Arguments(), "--globals-only", "--no-password"), more...)
	// pg_dumpall looks into the database "postgres" or "template1" unless it is told
	// otherwise. It would take an odd name for a connection string.
	if name := c.Get("dbname"); name != "" && !strings.ContainsAny(name, "=:") {
		args = append(args, "--database="+name)
	}
	p := pg.Command(ctx, c, programs.Path("pg_dumpall"), args...)
	out := &limited{most: maxGlobals}
	p.Output(out)
	if err := p.Run(); err != nil {
		return nil, err
	}
	var check scriptCheck
	_, _ = check.Write(out.Bytes())
	if kind, err := check.end(); err != nil {
		return nil, err
	} else if kind != pg.ClusterDump {
		return nil, errors.New("pg_dumpall wrote something else than a dump of a cluster")
	}
	return out.Bytes(), nil
}

// limited is a buffer that takes only so many bytes.
type limited struct {
	bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.most {
		return 0, fmt.Errorf("there are more than %d bytes", l.most)
	}
	return l.Buffer.Write(p)
}
