package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/tree"
	"vaultfs/repo"
)

func (a *app) ingestTreeCommand() *cobra.Command {
	var common ingestOptions
	o := tree.Options{Exclude: new(tree.Patterns)}
	c := &cobra.Command{
		Use:   "tree DIR…",
		Short: "Back up directories with all that is in them",
		Long: `Back up directories, each with all that is below it as a snapshot of the source
tree/DIR; --name gives the source of one directory another name. A directory
called rsync-SOURCE-DATE, as backup scripts make them (2026-11-21,
2026-11-21_183000, 20261121), becomes a snapshot of rsync/SOURCE with that time.

Kept are contents with their holes, owners, modes, times to the nanosecond,
extended attributes, ACLs, capabilities, hard links, symbolic links, devices,
fifos and sockets, and names of any bytes. Run it as root to see all of that.
The attributes that chattr sets are not kept.

A file is not read again if its size, mtime, ctime and inode are those of the
source's previous snapshot, and it was not touched since that one began, or two
seconds before. In rsync-SOURCE-DATE directories the ctime of a file with several
names may differ: giving it another name changes that. --force-read reads all.

Nothing is left out by itself but what the kernel makes up (/proc, /sys and the
like), the repository, and mounts of vaultfs; their directories are kept empty,
as are those of file systems that --one-file-system leaves out.

A pattern of --exclude without a slash matches a name at any depth; one with a
slash the path from DIR, so that /var is DIR/var. * ? [a-z] match within a name,
** any number of directories; a slash at the end means directories only; !
before it takes in again what an earlier pattern left out. The last that matches
decides, in the order of the command line. Nothing below a directory that is left
out is taken in again.

What is deleted while the tree is read is left out. A file that changes while it
is read is read once more, and kept with a warning if it still changes. What
cannot be read is left out with a warning. With warnings the exit status is 3.`,
		Example: `  vaultfs ingest tree /etc
  vaultfs ingest tree / --name web --one-file-system --exclude '/var/cache/**' --exclude '*.tmp'
  vaultfs ingest tree /home --exclude-caches --exclude-from /etc/vaultfs/exclude
  vaultfs ingest tree /backup/rsync-web-*`,
		Args: atLeast(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Tags = common.name, common.adopt, !common.noVerify, common.tags
				return a.ingestTree(c.Context(), r, &common, args, o)
			})
		},
		ValidArgsFunction: completeDirs,
	}
	f := c.Flags()
	f.StringVar(&common.name, "name", "", "make a snapshot of the source tree/`NAME`")
	f.Var(patternFlag{o.Exclude.Add}, "exclude", "leave out what matches `PATTERN`; may be repeated")
	f.Var(patternFlag{o.Exclude.AddFile}, "exclude-from", "leave out what matches a pattern in `FILE`, one a line, # begins a comment; may be repeated")
	f.BoolVar(&o.ExcludeCaches, "exclude-caches", false, "leave out what is in directories with a CACHEDIR.TAG, but for the tag")
	f.BoolVarP(&o.OneFileSystem, "one-file-system", "x", false, "leave out what is mounted below DIR")
	f.BoolVar(&o.ForceRead, "force-read", false, "read every file, even if it seems not to have changed")
	common.addTo(c)
	_ = c.RegisterFlagCompletionFunc("exclude", cobra.NoFileCompletions)
	_ = c.MarkFlagFilename("exclude-from")
	return c
}

// A patternFlag takes a value each time it is given, in the order of the
// command line.
type patternFlag struct{ add func(string) error }

func (patternFlag) String() string       { return "" }
func (patternFlag) Type() string         { return "string" }
func (p patternFlag) Set(s string) error { return p.add(s) }

func (a *app) ingestTree(ctx context.Context, r *repo.Repo, common *ingestOptions, dirs []string, o tree.Options) error {
	o.Program, o.Warn, o.Repository = program(), a.print.warn, a.repoPath
	o.Progress = new(ingest.Progress)
	stop := a.ingesting(o.Progress)
	made, err := tree.Ingest(ctx, r, dirs, o)
	stop()
	return a.ingested(ctx, r, common, treeOutcomes(made), wrong(err, tree.ErrUsage))
}

func treeOutcomes(made []tree.Made) []outcome {
	var all []outcome
	for _, m := range made {
		all = append(all, outcome{snapshot: m.Snapshot, warnings: m.Warnings})
	}
	return all
}
