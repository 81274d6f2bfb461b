package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// An otherRepository is the one that a repair heals from.
type otherRepository struct {
	path     string
	password passwordSource
}

// otherPasswordFromEnvironment takes the password out of the environment, as
// passwordFromEnvironment does.
func otherPasswordFromEnvironment() (s passwordSource) {
	if v := os.Getenv("VAULTFS_FROM_PASSWORD"); v != "" {
		s.value = []byte(v)
	}
	os.Unsetenv("VAULTFS_FROM_PASSWORD")
	s.envFile = os.Getenv("VAULTFS_FROM_PASSWORD_FILE")
	return s
}

// withOther calls f with the other repository, or with nil if none is named.
func (a *app) withOther(ctx context.Context, o *otherRepository, f func(*repo.Repo) error) error {
	if o.path == "" {
		return f(nil)
	}
	own, err := os.Stat(a.repoPath)
	if err != nil {
		return err
	}
	if other, err := os.Stat(o.path); err == nil && os.SameFile(own, other) {
		return &statusError{statusUsage, fmt.Errorf("--from %s: that is the repository which is to be repaired", o.path)}
	}
	st, err := store.OpenDir(o.path)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer st.Close()
	r, err := a.unlockOther(ctx, st, o)
	if err != nil {
		return o.explain(err)
	}
	defer r.Close()
	return f(r)
}

// explain words an error of opening. It is not of the repository that is to be
// repaired, and must not be taken for one.
func (o *otherRepository) explain(err error) error {
	const give = "give it with --from-password-file or --from-password-command"
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, repo.ErrPasswordNeeded):
		return fmt.Errorf("--from %s: it is encrypted and needs a password: %s", o.path, give)
	case errors.Is(err, repo.ErrWrongPassword):
		return fmt.Errorf("--from %s: wrong password: %s", o.path, give)
	}
	return fmt.Errorf("--from %s: %v", o.path, err)
}

// unlockOther opens the other repository: with the password that was given for
// it, or with the one of the first, or with one that is asked for.
func (a *app) unlockOther(ctx context.Context, st *store.Dir, o *otherRepository) (*repo.Repo, error) {
	password, err := o.password.get(ctx)
	if err != nil {
		return nil, err
	}
	if password != nil {
		return a.openOther(ctx, st, password)
	}
	r, err := a.openOther(ctx, st, a.password.value)
	if errors.Is(err, repo.ErrUnencrypted) {
		return a.openOther(ctx, st, nil) // nobody said that it is encrypted
	}
	if !errors.Is(err, repo.ErrWrongPassword) && !errors.Is(err, repo.ErrPasswordNeeded) {
		return r, err
	}
	if !a.canAsk() {
		return nil, err
	}
	for range tries {
		if password, err = a.ask(ctx, "Password of "+o.path+": "); err != nil {
			return nil, err
		}
		if r, err = a.openOther(ctx, st, password); !errors.Is(err, repo.ErrWrongPassword) {
			return r, err
		}
		a.print.warn("wrong password")
	}
	return nil, err
}

// openOther opens it without a local copy of its index: that of a copy of the
// first repository would be in the place of the first's.
func (a *app) openOther(ctx context.Context, st *store.Dir, password []byte) (*repo.Repo, error) {
	warn := func(sentence string) { a.print.warn("the repository to heal from: " + sentence) }
	return repo.Open(ctx, st, repo.OpenOptions{Password: password, Warn: warn})
}
