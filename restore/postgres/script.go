package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"vaultfs/internal/pg"
	"vaultfs/repo"
)

// checkScript refuses a script that is not of one database: it would make and
// change others.
func (j *job) checkScript(ctx context.Context) error {
	if j.report.Dump.Form != pg.Script {
		return nil
	}
	f, err := j.repo.OpenFile(ctx, j.dump)
	if err != nil {
		return err
	}
	head, _, err := edges(f)
	switch {
	case err != nil:
		return err
	case pg.ScriptKind(head) == pg.ClusterDump:
		return fmt.Errorf("%s is a dump of a whole cluster, which makes databases of its own: get it with `vaultfs restore %s --to DIR`, and give it to psql", j.dump.Name, j.snap.Short())
	case j.o.NoOwner:
		return errors.New("who owns what is written into its statements: leave out --no-owner and make the roles first")
	}
	return nil
}

// fillScript gives the statements to psql, as one transaction. psql obeys commands
// of its own that a script holds, `\!` among them, which runs a shell. It is
// restricted to SQL, as pg_dump's scripts do for themselves since PostgreSQL 17.6
// (CVE-2025-8714), but with a key that the script does not know.
func (j *job) fillScript(ctx context.Context, c pg.Conn) error {
	f, err := j.repo.OpenFile(ctx, j.dump)
	if err != nil {
		return err
	}
	head, tail, err := edges(f)
	if err != nil {
		return err
	}
	begin, lines := restrictEnd(head)
	end := f.Size() - int64(len(tail)-unrestrictBegin(tail))
	restrict := strings.Repeat("\n", max(0, lines-1)) + `\restrict ` + rand.Text() + "\n" // lines keep their numbers
	p := pg.Command(ctx, c, j.programs.Path("psql"), "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file=-", "--dbname="+c.String())
	p.Output(io.Discard)
	j.o.Progress.Done.Add(f.Size() - max(0, end-begin))
	return j.feed(p, io.NewSectionReader(f, begin, max(0, end-begin)), restrict)
}

// edge is how much of a script's beginning and end is looked at, in bytes.
const edge = 4 << 10

// edges reads the beginning and the end of a script; they may overlap.
func edges(f *repo.File) (head, tail []byte, err error) {
	head, tail = make([]byte, min(edge, f.Size())), make([]byte, min(edge, f.Size()))
	if _, err = f.ReadAt(head, 0); err == nil || err == io.EOF {
		_, err = f.ReadAt(tail, f.Size()-int64(len(tail)))
	}
	if err == io.EOF {
		err = nil
	}
	return head, tail, err
}

// restrictEnd is where the line with \restrict ends that pg_dump writes after the
// first comments, and the number of that line; 0 if there is none.
func restrictEnd(head []byte) (at int64, number int) {
	lines := 0
	for line := range bytes.Lines(head) {
		at, lines = at+int64(len(line)), lines+1
		switch {
		case bytes.HasPrefix(line, []byte(`\restrict `)) && bytes.HasSuffix(line, []byte("\n")):
			return at, lines
		case len(bytes.TrimSpace(line)) > 0 && !bytes.HasPrefix(line, []byte("--")):
			return 0, 0
		}
	}
	return 0, 0
}

// unrestrictBegin is where the line with \unrestrict begins that pg_dump writes
// last; the length of tail if there is none.
func unrestrictBegin(tail []byte) int {
	last := bytes.LastIndex(tail, []byte("\n"+`\unrestrict `))
	if last < 0 || bytes.Contains(bytes.TrimSpace(tail[last:]), []byte("\n")) {
		return len(tail)
	}
	return last + 1
}
