package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"vaultfs/internal/pg"
	"vaultfs/repo"
)

func addFile(ctx context.Context, s *repo.Session, name string, content []byte) error {
	_, err := s.AddFile(ctx, name, bytes.NewReader(content))
	return err
}

// addReport stores what is known of a database, for programs and for people.
func addReport(ctx context.Context, s *repo.Session, r *pg.Report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("making %s: %w", pg.ReportName, err)
	}
	if err := addFile(ctx, s, pg.ReportName, append(b, '\n')); err != nil {
		return err
	}
	return addFile(ctx, s, pg.ReportText, []byte(r.Markdown()))
}

// readBack has pg_restore read the stored copy of an archive: its contents, and
// if only pg_restore knows the archive's version all of it.
func readBack(ctx context.Context, programs *pg.Programs, it repo.Item, known bool, open func(repo.Item) (*repo.File, error)) error {
	f, err := open(it)
	if err != nil {
		return err
	}
	how := "--list"
	if !known {
		how = "--file=/dev/null"
	}
	p := pg.Command(ctx, pg.Conn{}, programs.Path("pg_restore"), how)
	p.Input(io.NewSectionReader(f, 0, f.Size()))
	if err := p.Run(); err != nil {
		return fmt.Errorf("pg_restore %s cannot read what was stored as %s: %w", how, it.Name, err)
	}
	return nil
}
