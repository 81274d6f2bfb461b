package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// needRepo makes sure that the repository is named.
func (a *app) needRepo() error {
	if a.repoPath == "" {
		return &statusError{statusUsage, errors.New("no repository is named: give --repo DIR or set VAULTFS_REPO")}
	}
	return nil
}

// openStore opens the repository's directory, which must exist.
func (a *app) openStore() (*store.Dir, error) {
	if err := a.needRepo(); err != nil {
		return nil, err
	}
	st, err := store.OpenDir(a.repoPath)
	if err != nil {
		return nil, a.openError(err)
	}
	return st, nil
}

// withRepo calls f with the open repository.
func (a *app) withRepo(ctx context.Context, f func(*repo.Repo) error) error {
	st, err := a.openStore()
	if err != nil {
		return err
	}
	defer st.Close()
	r, err := a.unlock(ctx, st)
	if err != nil {
		return err
	}
	err = f(r)
	if closing := r.Close(); closing != nil {
		// Only the local copy of the index is at stake, which is made anew.
		a.print.warn(closing.Error())
	}
	return err
}

// tries is how often a person may mistype the password.
const tries = 3

// unlock opens the repository with the password that was given, and asks for
// one if none was and one is needed. What was asked for is kept.
func (a *app) unlock(ctx context.Context, st *store.Dir) (*repo.Repo, error) {
	password, err := a.password.get(ctx)
	if err != nil {
		return nil, err
	}
	if password != nil {
		a.password = passwordSource{value: password} // a pipe can be read once
	}
	r, err := a.openRepo(ctx, st, password)
	if !errors.Is(err, repo.ErrPasswordNeeded) || !a.canAsk() {
		return r, err
	}
	for range tries {
		if password, err = a.ask(ctx, "Password of "+a.repoPath+": "); err != nil {
			return nil, err
		}
		if r, err = a.openRepo(ctx, st, password); !errors.Is(err, repo.ErrWrongPassword) {
			a.password = passwordSource{value: password}
			return r, err
		}
		a.print.warn("wrong password")
	}
	return nil, err
}

// openRepo opens the repository. The memory that the password's key took, some
// 64 MiB, is given back: else the garbage collector would take it as the measure
// of how much garbage may pile up until it runs first.
func (a *app) openRepo(ctx context.Context, st *store.Dir, password []byte) (*repo.Repo, error) {
	defer debug.FreeOSMemory()
	return repo.Open(ctx, st, repo.OpenOptions{Password: password, CacheDir: a.indexCache(), Warn: a.print.warn})
}

// indexCache is the directory of local copies of indexes, or "" for none.
func (a *app) indexCache() string {
	if a.noCache {
		return ""
	}
	if a.cacheDir != "" {
		return a.cacheDir
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "" // without a home there is no cache
	}
	return filepath.Join(base, "vaultfs")
}
