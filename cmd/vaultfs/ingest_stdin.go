package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/stdin"
	"vaultfs/repo"
)

func (a *app) ingestStdinCommand() *cobra.Command {
	var common ingestOptions
	var o stdin.Options
	c := &cobra.Command{
		Use:   "stdin --name NAME [-- COMMAND ARG…]",
		Short: "Back up a stream as one file",
		Long: `Back up what comes from standard input, or what COMMAND prints, as one file in a
snapshot of the source stdin/NAME. The file has the last part of NAME as its name,
or what --filename says.

In "dump | vaultfs ingest stdin --name db" nobody can see whether dump has finished
or died: the pipe ends either way, and what came until then would be committed;
"set -o pipefail" tells the shell only afterwards. So have the command run:

  vaultfs ingest stdin --name db -- dump --all

is committed only if the command exits with status 0. What it prints on standard
error is passed on, and it is ended if the backup fails or is interrupted.

A stream without a byte is most likely a mistake and fails, unless --allow-empty is
given. Give a stream as it is, not compressed: then what did not change since the
last time costs nothing.`,
		Example: `  vaultfs ingest stdin --name router -- ssh router export compact
  vaultfs ingest stdin --name ldap --filename ldap.ldif -- slapcat
  mysqldump --all-databases | vaultfs ingest stdin --name mysql`,
		Args: func(c *cobra.Command, args []string) error {
			if dash := c.ArgsLenAtDash(); len(args) > 0 && dash != 0 {
				return usage(c, "%q is too much; a command to run stands after --", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Tags, o.Command = common.name, common.adopt, !common.noVerify, common.tags, args
				return a.ingestStdin(c.Context(), r, &common, o)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&common.name, "name", "", "make a snapshot of the source stdin/`NAME`")
	f.StringVar(&o.FileName, "filename", "", "give the file this `NAME`")
	f.BoolVar(&o.AllowEmpty, "allow-empty", false, "back up a stream without a byte")
	common.addTo(c)
	_ = c.RegisterFlagCompletionFunc("filename", cobra.NoFileCompletions)
	return c
}

func (a *app) ingestStdin(ctx context.Context, r *repo.Repo, common *ingestOptions, o stdin.Options) error {
	o.Program, o.Stdin, o.Stderr = program(), a.stdin, a.print.err
	o.Progress = new(ingest.Progress)
	stop := a.ingesting(o.Progress)
	m, err := stdin.Ingest(ctx, r, o)
	stop()
	if err != nil {
		return wrong(err, stdin.ErrUsage)
	}
	return a.ingested(ctx, r, common, []outcome{{snapshot: m.Snapshot}}, nil)
}
