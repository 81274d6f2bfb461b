package postgres

import (
	"context"
	"fmt"
	"time"

	"vaultfs/internal/pg"
)

// compare counts the rows of the new database, and compares them with those
// that were counted when the dump was made.
func (j *job) compare(ctx context.Context) (c Comparison, err error) {
	if len(j.report.Tables) == 0 && j.report.Dump.Options == nil {
		return c, nil // of a file; nothing is known
	}
	s, err := pg.Connect(ctx, j.o.BinDir, j.server.Conn.With("dbname", j.o.Database))
	if err != nil {
		return c, err
	}
	defer s.Close()
	tables, err := s.Tables()
	if err != nil {
		return c, err
	}
	if err := s.Count(tables, time.Now().Add(countTime)); err != nil {
		return c, err
	}
	now := map[[2]string]pg.Table{}
	for _, t := range tables {
		now[[2]string{t.Schema, t.Name}] = t
	}
	for _, then := range j.report.Tables {
		t, there := now[[2]string{then.Schema, then.Name}]
		switch {
		case !there:
			c.Differences = append(c.Differences, fmt.Sprintf("the table %s is not there", then))
		case then.Estimate || t.Estimate:
			c.Unknown = append(c.Unknown, then.String())
		case t.Rows != then.Rows:
			c.Differences = append(c.Differences, fmt.Sprintf("the table %s has %d rows, and had %d when it was dumped", then, t.Rows, then.Rows))
		default:
			c.Same++
			c.Rows += t.Rows
		}
	}
	c.Done = j.report.Tables != nil
	return c, nil
}
