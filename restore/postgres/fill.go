package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"vaultfs/internal/pg"
	"vaultfs/restore"
)

// fill restores the dump into the new database.
func (j *job) fill(ctx context.Context) error {
	c := j.server.Conn.With("dbname", j.o.Database)
	what := fmt.Sprintf("restoring %s into the database %q", j.dump.Name, j.o.Database)
	j.o.Progress.Total.Add(j.dump.Size)
	switch {
	case j.report.Dump.Form == pg.Script:
		return explain(what, j.fillScript(ctx, c))
	case j.o.Jobs > 1:
		return explain(what, j.fillJobs(ctx, c))
	}
	f, err := j.repo.OpenFile(ctx, j.dump)
	if err != nil {
		return explain(what, err)
	}
	p := pg.Command(ctx, c, j.programs.Path("pg_restore"), j.arguments(c)...)
	return explain(what, j.feed(p, io.NewSectionReader(f, 0, f.Size()), ""))
}

func (j *job) arguments(c pg.Conn, more ...string) []string {
	args := []string{"--exit-on-error", "--no-password", "--dbname=" + c.String()}
	if j.o.NoOwner {
		args = append(args, "--no-owner", "--no-privileges")
	}
	return append(args, more...)
}

// fillJobs lets several connections restore at once. Each reads the dump at
// places of its own, so that it needs a path.
func (j *job) fillJobs(ctx context.Context, c pg.Conn) error {
	if j.o.File == nil {
		return errors.New("several jobs need the dump as a file, and there is none")
	}
	path, release, err := j.o.File(ctx, j.snap, j.dump)
	if err != nil {
		return err
	}
	err = pg.Command(ctx, c, j.programs.Path("pg_restore"), j.arguments(c, fmt.Sprintf("--jobs=%d", j.o.Jobs), path)...).Run()
	if err == nil {
		j.o.Progress.Done.Add(j.dump.Size)
	}
	return errors.Join(err, release())
}

// feed runs a program that reads what is put before the dump and then the dump.
func (j *job) feed(p *pg.Process, dump io.Reader, before string) error {
	in := &source{r: bufio.NewReaderSize(dump, 1<<20), p: j.o.Progress}
	p.Input(io.MultiReader(strings.NewReader(before), in))
	err := p.Run()
	if in.err != nil {
		return in.err // the repository's, which is why the program failed
	}
	return err
}

// A source counts what is read, and keeps the error of reading.
type source struct {
	r   io.Reader
	p   *restore.Progress
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.p.Done.Add(int64(n))
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
