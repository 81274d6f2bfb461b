package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"vaultfs/repo"
	"vaultfs/repo/store"
	"vaultfs/restore"
)

// The exit statuses.
const (
	statusDone    = 0
	statusFailed  = 1 // nothing was committed
	statusUsage   = 2
	statusPartial = 3 // committed, but something was left out
	statusDamage  = 4
)

// A statusError ends the program with a status of its own.
type statusError struct {
	status int
	err    error // nil: all has been said
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// usage is an error in how a command was called.
func usage(c *cobra.Command, format string, args ...any) error {
	path := c.CommandPath() // the program's own name stands before every error
	of := ""
	if _, command, ok := strings.Cut(path, " "); ok {
		of = command + ": "
	}
	return &statusError{statusUsage, fmt.Errorf("%s%s (see %s --help)", of, fmt.Sprintf(format, args...), path)}
}

// interrupted takes whatever a cancelled command ended with for the
// interruption that it was.
func interrupted(err error) error {
	if errors.Is(err, repo.ErrDamaged) {
		return err
	}
	var done *statusError
	if errors.As(err, &done) {
		return err
	}
	return &statusError{statusFailed, context.Canceled}
}

// explain returns the sentence for an error, "" for none, and the exit status.
// It says what failed, on what, and what to do next.
func (a *app) explain(err error) (sentence string, status int) {
	if err == nil {
		return "", statusDone
	}
	status = statusFailed
	var special *statusError
	if errors.As(err, &special) {
		status = special.status
		if special.err == nil {
			return "", status
		}
	} else if errors.Is(err, repo.ErrDamaged) {
		status = statusDamage
	}
	return a.sentence(err), status
}

// sentence words the errors that a library cannot word fully, because it does
// not know the repository's place or the command line.
func (a *app) sentence(err error) string {
	var space *restore.SpaceError
	switch {
	case errors.Is(err, repo.ErrWrongPassword):
		return fmt.Sprintf("wrong password: no key of the repository %s opens with it; check where the password comes from, or try another", a.repoPath)
	case errors.Is(err, repo.ErrPasswordNeeded):
		return fmt.Sprintf("the repository %s is encrypted and no password was given: use --password-file, --password-command, VAULTFS_PASSWORD or VAULTFS_PASSWORD_FILE", a.repoPath)
	case errors.Is(err, repo.ErrUnencrypted):
		return fmt.Sprintf("a password was given, but the repository %s is not encrypted: if it should be, somebody has replaced it; if not, give no password", a.repoPath)
	case errors.Is(err, repo.ErrNotRepository):
		return fmt.Sprintf("%s is not a vaultfs repository: check --repo, or make one there with `vaultfs init`", a.repoPath)
	case errors.Is(err, repo.ErrNewerFormat):
		return fmt.Sprintf("repository %s: %v: install a newer vaultfs to use it", a.repoPath, err)
	case errors.Is(err, repo.ErrNoSpace) && a.upkeep:
		return fmt.Sprintf("no space is left for the repository %s (%v): no snapshot has lost anything; free a few megabytes of the file system, then `vaultfs gc` goes on", a.repoPath, err)
	case errors.Is(err, repo.ErrLeaseBroken) && a.upkeep:
		return fmt.Sprintf("another process has ended this one's work in the repository %s: no snapshot has lost anything; run it again to go on", a.repoPath)
	case errors.Is(err, repo.ErrNoSpace):
		return fmt.Sprintf("no space is left for the repository %s (%v): nothing was committed; free some and run it again, what was stored already is used", a.repoPath, err)
	case errors.Is(err, repo.ErrLeaseBroken):
		return fmt.Sprintf("another process has ended this session in the repository %s: nothing was committed; run it again", a.repoPath)
	case errors.Is(err, repo.ErrInUse), errors.Is(err, repo.ErrSourceBusy):
		return fmt.Sprintf("%v: wait until that has ended, `vaultfs sessions` lists who is at work", err)
	case errors.Is(err, repo.ErrLastKey):
		return fmt.Sprintf("%v: without a key nobody can read the repository; add another one first", err)
	case errors.Is(err, store.ErrReadOnly):
		return fmt.Sprintf("the repository %s cannot be written to (%v): check who owns it and how it is mounted", a.repoPath, err)
	case errors.As(err, &space):
		return fmt.Sprintf("there is not enough space in %s: what is to be restored takes %s, %s are free; choose another place or free some", space.Dir, iec(space.Need), iec(space.Free))
	case errors.Is(err, context.Canceled):
		return "interrupted" + a.onInterrupt
	}
	return err.Error()
}

// openError says why the repository's directory cannot be used.
func (a *app) openError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("there is no repository %s: check --repo, or make one there with `vaultfs init`", a.repoPath)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("the repository %s is not a directory: check --repo", a.repoPath)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the repository %s may not be opened by this user: run vaultfs as its owner", a.repoPath)
	}
	return err
}
