package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"
)

// An app is one run of the program: what the global flags and the environment
// say, and where to print.
type app struct {
	stdin *os.File
	print *printer

	repoPath string
	cacheDir string
	noCache  bool
	password passwordSource
	profiles profiles

	// neverAsk is for commands that are to go on without what could be asked.
	neverAsk bool
	// upkeep is true of commands that make no snapshot: forget, gc, repair.
	upkeep bool
	// onInterrupt is what an interruption leaves behind: "; nothing was committed".
	onInterrupt string
	// report, if it is set, is told how the command ended. A mount in the
	// background answers through it to whoever started it.
	report func(sentence string, status int)
}

func newApp(stdin *os.File, stdout, stderr io.Writer) *app {
	return &app{stdin: stdin, print: &printer{out: stdout, err: stderr}, password: passwordFromEnvironment()}
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "vaultfs COMMAND",
		Short: "Back up virtual machines, databases and files, and mount every backup",
		Long: `vaultfs keeps backups of virtual machines, disk images, vzdump archives,
PostgreSQL databases and file trees in one encrypted, deduplicating repository,
and shows each of them as ordinary files.

A backup is called a snapshot. It belongs to a source, such as vm/win11 or
disk/debian, and holds items: disks, and files such as domain.xml. Commands
take a snapshot as
  3f2a91c0                      the beginning of its ID
  vm/win11, vm/win11@latest     the newest of a source
  vm/win11@2026-11-21           the newest at the end of that day
  vm/win11@2026-11-21T18:00     the newest at that time (local)

The password comes from --password-file, --password-command, VAULTFS_PASSWORD,
VAULTFS_PASSWORD_FILE, or a prompt, in this order. VAULTFS_REPO names the
repository when --repo does not.

With --json results are printed as JSON on standard output; long commands print
a line {"event":"progress",…} now and then before them. Errors and warnings are
lines {"event":"error",…} and {"event":"warning",…} on standard error.

Exit status: 0 done; 1 failed, nothing was committed; 2 wrong usage;
3 committed, but something was left out; 4 damage was found.`,
		Example: `  export VAULTFS_REPO=/backup/vault VAULTFS_PASSWORD_FILE=/root/vault.pw
  vaultfs init
  vaultfs ingest vm win11
  vaultfs snapshots
  vaultfs mount /mnt/vault && ls /mnt/vault/vm/win11/latest/disks
  vaultfs restore vm/win11:vda --to /var/lib/libvirt/images/win11.qcow2
  vaultfs verify --sample 5%
  vaultfs forget --gc
  vaultfs status`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          groupRun,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%v", err) })
	root.SetOut(a.print.out)
	root.SetErr(a.print.err)
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)

	f := root.PersistentFlags()
	f.StringVarP(&a.repoPath, "repo", "r", os.Getenv("VAULTFS_REPO"), "the repository's `directory`")
	f.Lookup("repo").DefValue = "" // its value is no default to show
	f.StringVar(&a.password.file, "password-file", "", "read the password from the first line of `FILE`")
	f.StringVar(&a.password.command, "password-command", "", "run `COMMAND` with sh and take the first line it prints as the password")
	f.StringVar(&a.cacheDir, "cache-dir", "", "keep the local copy of the index in `DIR` (default ~/.cache/vaultfs)")
	f.BoolVar(&a.noCache, "no-cache", false, "keep no local copy of the index")
	f.BoolVar(&a.print.json, "json", false, "print JSON")
	f.BoolVarP(&a.print.quiet, "quiet", "q", false, "no progress and no remarks")
	f.StringVar(&a.profiles.cpu, "cpuprofile", "", "write a CPU profile to `FILE`")
	f.StringVar(&a.profiles.memory, "memprofile", "", "write a memory profile to `FILE`")
	_ = f.MarkHidden("cpuprofile")
	_ = f.MarkHidden("memprofile")
	_ = root.MarkPersistentFlagDirname("repo")
	_ = root.MarkPersistentFlagDirname("cache-dir")
	_ = root.MarkPersistentFlagFilename("password-file")

	root.AddCommand(
		a.initCommand(), a.keyCommand(), a.ingestCommand(),
		a.snapshotsCommand(), a.lsCommand(), a.showCommand(),
		a.mountCommand(), a.umountCommand(), a.restoreCommand(),
		a.verifyCommand(), a.forgetCommand(), a.policyCommand(), a.statusCommand(), a.repairCommand(), a.gcCommand(), a.sessionsCommand(),
		a.vmCommand(), a.recoverCommand(), a.benchCommand(), a.versionCommand(),
	)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			completionExamples(c)
		}
	}
	return root
}

// completionExamples gives cobra's own command what all others have.
func completionExamples(c *cobra.Command) {
	c.Example = "  vaultfs completion bash > /etc/bash_completion.d/vaultfs"
	for _, shell := range c.Commands() {
		shell.Example = "  vaultfs completion " + shell.Name()
	}
}

// groupRun is the run of a command that only leads to others.
func groupRun(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		if c.HasParent() {
			return usage(c, "which of its commands?")
		}
		return c.Help()
	}
	hint := ""
	if s := c.SuggestionsFor(args[0]); len(s) > 0 {
		hint = "; did you mean " + s[0] + "?"
	}
	return usage(c, "there is no command %q%s", args[0], hint)
}
