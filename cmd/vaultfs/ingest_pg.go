package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/postgres"
	"vaultfs/repo"
)

func (a *app) ingestPGCommand() *cobra.Command {
	var common ingestOptions
	var o postgres.Options
	var files []string
	c := &cobra.Command{
		Use:   "pg DB… | --all | --file DUMP…",
		Short: "Back up PostgreSQL databases",
		Long: `Back up PostgreSQL databases with pg_dump, or dumps that exist already. Each
database becomes a snapshot of the source pg/HOST/DB, or pg/HOST:PORT/DB, with
the dump as DB.dump, the server's roles and tablespaces as globals.sql, and what
is known of the database as report.md and report.json: version, encoding,
extensions, and the rows of every table, counted in the state that was dumped.

A dump that fails or is not whole never becomes a snapshot. Nothing is spooled.

DB is a name, or a connection string or URI as psql takes it. How the server is
reached and who logs in is decided as by PostgreSQL's own programs: the PG…
environment, ~/.pgpass, pg_service.conf. A password is never asked for; one in a
URI is seen by all who may list processes, so better put it into ~/.pgpass. The
pg_dump is that of the server's version, or of the next newer one; --pg-bindir
says where it is.

With --file dumps are read from files: pg_dump's custom format, or SQL statements
of pg_dump or pg_dumpall, also compressed as .gz, .zst or .lzo, which is undone.
pg-orders-2026-11-21_180000.dump becomes a snapshot of pg/orders of that time;
give others a --name.

A cluster is known by its system identifier: after a move to another cluster,
or pg_upgrade, --adopt goes on with the source.`,
		Example: `  vaultfs ingest pg orders
  vaultfs ingest pg --all --host db1 --username backup
  vaultfs ingest pg 'postgresql://backup@db1/orders?sslmode=verify-full'
  vaultfs ingest pg --name db1/orders --file /srv/dumps/orders.sql.gz`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(files) > 0 && o.All {
				return usage(c, "--file and --all exclude each other")
			}
			for _, name := range []string{"no-globals", "no-counts", "count-time", "lock-wait", "username", "service"} {
				if len(files) > 0 && c.Flags().Changed(name) {
					return usage(c, "--file and --%s exclude each other", name)
				}
			}
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Tags = common.name, common.adopt, !common.noVerify, common.tags
				if len(files) > 0 {
					return a.ingestPG(c.Context(), r, &common, append(files, args...), o, postgres.IngestFiles)
				}
				return a.ingestPG(c.Context(), r, &common, args, o, postgres.Ingest)
			})
		},
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			if c.Flags().Changed("file") {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	f := c.Flags()
	f.BoolVar(&o.All, "all", false, "every database of the server but templates")
	f.StringArrayVar(&files, "file", nil, "read existing dumps from `DUMP` and the files that follow")
	f.StringVar(&common.name, "name", "", "make it a snapshot of the source pg/`NAME`, or of pg/NAME/DB if there are several")
	f.BoolVar(&o.NoGlobals, "no-globals", false, "leave out roles and tablespaces")
	f.BoolVar(&o.NoCounts, "no-counts", false, "do not count the rows of the tables")
	f.DurationVar(&o.CountTime, "count-time", postgres.CountTime, "estimate the rows of tables that are not counted in this `TIME`")
	f.DurationVar(&o.LockWait, "lock-wait", postgres.LockWait, "fail if a table stays locked by others for this `TIME`; 0 waits for ever")
	addServer(c, &o.Host, &o.Port, &o.User, &o.Service, &o.BinDir)
	common.addTo(c)
	return c
}

// addServer adds the flags that say which PostgreSQL server is meant.
func addServer(c *cobra.Command, host, port, user, service, bindir *string) {
	f := c.Flags()
	f.StringVar(host, "host", "", "the PostgreSQL server's `HOST`, or the directory of its socket")
	f.StringVar(port, "port", "", "the PostgreSQL server's `PORT`")
	f.StringVar(user, "username", "", "log in to PostgreSQL as `USER`")
	f.StringVar(service, "service", "", "the `SERVICE` of pg_service.conf to connect to")
	f.StringVar(bindir, "pg-bindir", "", "take PostgreSQL's programs from `DIR`")
	_ = c.MarkFlagDirname("pg-bindir")
	for _, name := range []string{"host", "port", "username", "service"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// ingestPG runs one of the two ways to get at dumps.
func (a *app) ingestPG(ctx context.Context, r *repo.Repo, common *ingestOptions, what []string, o postgres.Options,
	run func(context.Context, *repo.Repo, []string, postgres.Options) ([]postgres.Made, error)) error {
	o.Program = program()
	o.Progress = new(ingest.Progress)
	stop := a.ingesting(o.Progress)
	made, err := run(ctx, r, what, o)
	stop()
	var outcomes []outcome
	for _, m := range made {
		outcomes = append(outcomes, outcome{snapshot: m.Snapshot, warnings: m.Warnings})
	}
	return a.ingested(ctx, r, common, outcomes, wrong(err, postgres.ErrUsage))
}
