package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

func (a *app) initCommand() *cobra.Command {
	var noEncryption bool
	var recovery string
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a new repository",
		Long: `Make a new repository in the directory that --repo names. The directory is
made, or is empty.

What is stored is encrypted under keys that are sealed by a password, which is
asked for twice when none is given. There is no way in without it: write it
down, or keep a recovery file (--recovery-file), which holds the keys still
sealed by the password and helps when the files under keys/ or the file config
are lost.

--no-encryption makes a repository that anybody who can read its files can
read. That cannot be changed later.`,
		Example: `  vaultfs init -r /backup/vault
  vaultfs init -r /backup/vault --password-file /root/vault.pw --recovery-file /root/vault.recovery
  vaultfs init -r /scratch/vault --no-encryption`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error { return a.init(c, noEncryption, recovery) },
	}
	c.Flags().BoolVar(&noEncryption, "no-encryption", false, "store everything in clear")
	c.Flags().StringVar(&recovery, "recovery-file", "", "write a recovery file to `FILE`, as `key export` does")
	return c
}

func (a *app) init(c *cobra.Command, noEncryption bool, recovery string) error {
	if err := a.needRepo(); err != nil {
		return err
	}
	if err := a.checkPlace(recovery); err != nil {
		return err
	}
	o := repo.InitOptions{NoEncryption: noEncryption, Label: keyLabel()}
	if !noEncryption {
		var err error
		o.Password, err = a.newPassword(c.Context(), &a.password,
			"use --password-file, --password-command, VAULTFS_PASSWORD or VAULTFS_PASSWORD_FILE, or choose --no-encryption")
		if err != nil {
			return err
		}
		a.password = passwordSource{value: o.Password}
	} else if password, err := a.password.get(c.Context()); err != nil {
		return err
	} else if password != nil {
		return usage(c, "--no-encryption and a password were both given: choose one")
	}
	st, err := store.Create(a.repoPath)
	if errors.Is(err, store.ErrExists) && unfinished(a.repoPath) {
		st, err = store.OpenDir(a.repoPath)
	}
	if err != nil {
		return a.createError(err)
	}
	defer st.Close()
	if err := repo.Init(c.Context(), st, o); err != nil {
		return err
	}
	r, err := a.openRepo(c.Context(), st, o.Password)
	if err != nil {
		return err
	}
	defer r.Close()
	if recovery != "" {
		if err := exportKey(c.Context(), r, recovery); err != nil {
			return fmt.Errorf("the repository was made, but not its recovery file: %w", err)
		}
	}
	a.print.madeRepository(a.repoPath, r, recovery)
	return nil
}

// checkPlace refuses before anything is asked or written.
func (a *app) checkPlace(recovery string) error {
	if _, err := os.Lstat(filepath.Join(a.repoPath, "config")); err == nil {
		return a.createError(repo.ErrExists)
	}
	if recovery == "" {
		return nil
	}
	if _, err := os.Lstat(recovery); err == nil {
		return fmt.Errorf("the recovery file %s exists already: choose another name", recovery)
	}
	return nil
}

func (a *app) createError(err error) error {
	switch {
	case errors.Is(err, repo.ErrExists):
		return fmt.Errorf("%s is a vaultfs repository already: use it, or choose another directory", a.repoPath)
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("the directory %s is not empty: a new repository needs a directory of its own", a.repoPath)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("the directory %s does not exist: create it first, init makes only the last one", filepath.Dir(a.repoPath))
	}
	return err
}

// keyLabel tells whose key it is: root@host.
func keyLabel() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}

// unfinished tells whether a directory holds nothing but what an init that was
// interrupted leaves. repo.Init looks closer.
func unfinished(dir string) bool {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if !slices.Contains([]string{"keys", "head", "sessions", "tmp"}, e.Name()) {
			return false
		}
	}
	return err == nil
}
