package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"vaultfs/repo"
	"vaultfs/repo/seal"
)

func (a *app) keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key COMMAND",
		Short: "Manage the passwords that open a repository",
		Example: `  vaultfs key list
  vaultfs key export /root/vault.recovery`,
		Long: `Every key is one password. Any of them opens the repository wholly, and each
can be removed, except the last.

A removed or changed password no longer opens the repository as it is, but
somebody who had it and a copy of the files under keys/ has learned what the
repository's keys are, and that cannot be taken back.`,
		Args: cobra.ArbitraryArgs,
		RunE: groupRun,
	}
	c.AddCommand(a.keyListCommand(), a.keyAddCommand(), a.keyRemoveCommand(), a.keyPasswdCommand(), a.keyExportCommand(), a.keyImportCommand())
	return c
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keys",
		Long: `List the keys: which ID each has, when it was made, and what it is called. The
one that opened the repository just now is marked.`,
		Example: `  vaultfs key list`,
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				keys, err := r.Keys(c.Context())
				a.print.keys(keys)
				return err
			})
		},
	}
}

// newPasswordFlags are of the commands that set a password beside the one that
// opens the repository.
func newPasswordFlags(c *cobra.Command) *passwordSource {
	s := new(passwordSource)
	c.Flags().StringVar(&s.file, "new-password-file", "", "read the new password from the first line of `FILE`")
	c.Flags().StringVar(&s.command, "new-password-command", "", "run `COMMAND` with sh and take the first line it prints as the new password")
	return s
}

const newPasswordHint = "use --new-password-file or --new-password-command"

func (a *app) keyAddCommand() *cobra.Command {
	var label string
	var source *passwordSource
	c := &cobra.Command{
		Use:   "add",
		Short: "Add a password",
		Long: `Add a password that opens the repository, beside those that there are. The new
password is asked for twice unless a file or a command gives it.`,
		Example: `  vaultfs key add --label "spare, in the safe"
  vaultfs key add --new-password-file /root/second.pw`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				password, err := a.newPassword(c.Context(), source, newPasswordHint)
				if err != nil {
					return err
				}
				id, err := r.AddKey(c.Context(), password, label)
				if err != nil {
					return err
				}
				a.print.done("added key "+id, id)
				return nil
			})
		},
	}
	c.Flags().StringVar(&label, "label", keyLabel(), "what the list of keys calls it")
	source = newPasswordFlags(c)
	return c
}

func (a *app) keyRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a key",
		Long: `Remove the key whose ID begins so. Its password no longer opens the repository.
The last key stays.`,
		Example: `  vaultfs key remove 6a1f`,
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				id, err := r.RemoveKey(c.Context(), args[0])
				if err != nil {
					return err
				}
				a.print.done("removed key "+id, id)
				return nil
			})
		},
		ValidArgsFunction: a.completeKeys,
	}
}

func (a *app) keyPasswdCommand() *cobra.Command {
	var source *passwordSource
	c := &cobra.Command{
		Use:   "passwd",
		Short: "Change the password",
		Long: `Change the password that opened the repository: a key under the new one is
added, then the old key is removed. Other keys stay as they are. A recovery
file that was written before still opens with the old password.`,
		Example: `  vaultfs key passwd
  vaultfs key passwd --password-file old.pw --new-password-file new.pw`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				password, err := a.newPassword(c.Context(), source, newPasswordHint)
				if err != nil {
					return err
				}
				id, err := r.ChangePassword(c.Context(), password, keyLabel())
				if err != nil {
					return err
				}
				a.print.done("changed the password; its key is now "+id, id)
				return nil
			})
		},
	}
	source = newPasswordFlags(c)
	return c
}

func (a *app) keyExportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write a recovery file",
		Long: `Write a recovery file, to standard output if no FILE is named. It holds the key
that opened the repository, still sealed by its password, and the repository's
config. If those files are ever lost or damaged, "key import" puts them back.

Keep it apart from the repository. Without the password it is of no use; of a
repository without encryption it holds the keys in clear.`,
		Example: `  vaultfs key export /root/vault.recovery`,
		Args:    between(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				if len(args) == 1 {
					if err := exportKey(c.Context(), r, args[0]); err != nil {
						return err
					}
					a.print.done("wrote the recovery file "+args[0], "")
					return nil
				}
				b, err := r.ExportKey(c.Context())
				a.print.bytes(b)
				return err
			})
		},
		ValidArgsFunction: completeFiles,
	}
}

// exportKey writes a recovery file that is not there yet.
func exportKey(ctx context.Context, r *repo.Repo, name string) error {
	b, err := r.ExportKey(ctx)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return fmt.Errorf("%s exists already: choose another name", name)
	} else if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func (a *app) keyImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Put lost keys back from a recovery file",
		Long: `Put back what a recovery file holds, if it is missing or damaged in the
repository: the config, and the key. Nothing that is intact is touched. FILE
may be - for standard input. No password is needed; to use the repository
afterwards takes the one that opened it when the file was written.`,
		Example: `  vaultfs key import /root/vault.recovery`,
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.readRecovery(args[0])
			if err != nil {
				return err
			}
			st, err := a.openStore()
			if err != nil {
				return err
			}
			defer st.Close()
			id, err := repo.ImportKey(c.Context(), st, b)
			if err != nil {
				return err
			}
			a.print.done("key "+id+" and the config are in place", id)
			return nil
		},
		ValidArgsFunction: completeFiles,
	}
}

func (a *app) readRecovery(name string) ([]byte, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("recovery file: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, seal.MaxRecoverySize+1))
	if err != nil {
		return nil, fmt.Errorf("recovery file: %w", err)
	}
	return b, nil
}
