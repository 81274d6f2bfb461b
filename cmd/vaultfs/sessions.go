package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

func (a *app) sessionsCommand() *cobra.Command {
	var id string
	var yes bool
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List who is at work in the repository",
		Long: `List who is at work in the repository, on this host and others: who writes
(ingests), reads (mounts, restores, verify) and collects (gc), and since when. No
session stands in the way of an ingest; gc does not free what a session might
still need.

A session whose process is gone is dead. It is cleared away by this command, as
by the next ingest or gc, and what it had stored is used or collected.

One that lives but is stuck, such as on a host that hangs, can be ended with
--break. That is safe whatever its process does afterwards: a snapshot is
committed in one step that fails once the session is broken, so it is committed
whole before, or never. What it stored is kept until the next gc, and an ingest
of the same data before that uses it. Of a mount or a restore nothing is pinned
any more: a forgotten snapshot that it reads can be collected, and then it gets
errors, never wrong data. A gc that is broken stops; the next one goes on.`,
		Example: `  vaultfs sessions
  vaultfs sessions --break 3f2a91c0`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				if c.Flags().Changed("break") {
					return a.breakSession(c.Context(), r, id, yes)
				}
				return a.listSessions(c.Context(), r)
			})
		},
	}
	c.Flags().StringVar(&id, "break", "", "end the session whose `ID` begins so")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before a living session is broken")
	_ = c.RegisterFlagCompletionFunc("break", a.completeSessions)
	return c
}

// listSessions clears the dead sessions away and lists them with the others. In a
// repository that cannot be written to they are only listed.
func (a *app) listSessions(ctx context.Context, r *repo.Repo) error {
	cleared, err := r.ClearDead(ctx)
	if err != nil && !errors.Is(err, store.ErrReadOnly) {
		return err
	}
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return err
	}
	a.print.sessions(cleared, sessions, time.Now())
	return nil
}

func (a *app) breakSession(ctx context.Context, r *repo.Repo, prefix string, yes bool) error {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return err
	}
	s, err := oneSession(sessions, prefix)
	if err != nil {
		return err
	}
	if s.Alive && !yes {
		agreed, err := a.agreeToBreak(ctx, s)
		if err != nil || !agreed {
			return err
		}
	}
	if err := r.BreakSession(ctx, s.ID); err != nil {
		return err
	}
	a.print.done(fmt.Sprintf("broke the session %s: %s; %s", shortSession(s.ID), whoseSession(*s), brokenEffect(s.Kind)), "")
	return nil
}

// agreeToBreak asks, where there is somebody to answer.
func (a *app) agreeToBreak(ctx context.Context, s *repo.SessionInfo) (bool, error) {
	if !a.canAsk() {
		return false, &statusError{statusUsage, errors.New("breaking a living session wants a yes, and there is no terminal to ask on: give --yes")}
	}
	agreed, err := a.confirm(ctx, fmt.Sprintf("Break the session %s: %s? It is alive; after that %s.", shortSession(s.ID), whoseSession(*s), brokenEffect(s.Kind)))
	if err == nil && !agreed {
		a.print.remark("nothing was broken\n")
	}
	return agreed, err
}

// oneSession finds the session whose ID begins so.
func oneSession(sessions []repo.SessionInfo, prefix string) (found *repo.SessionInfo, err error) {
	for i, s := range sessions {
		if prefix == "" || !strings.HasPrefix(s.ID, strings.ToLower(prefix)) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("session %s: %w: several begin so; give more of the ID, `vaultfs sessions --json` shows all of it", prefix, repo.ErrAmbiguous)
		}
		found = &sessions[i]
	}
	if found == nil {
		return nil, fmt.Errorf("session %q: %w: perhaps it has ended; `vaultfs sessions` lists those that there are", prefix, repo.ErrNotFound)
	}
	return found, nil
}

// brokenEffect says what is so after a session of a kind was broken.
func brokenEffect(kind string) string {
	switch kind {
	case "write":
		return "its snapshot can never be committed, and what it stored is kept until the next gc"
	case "read":
		return "gc may collect forgotten snapshots that it is still reading, which then gets errors"
	case "gc":
		return "it stops before it removes anything more, and the next gc goes on"
	}
	return "it can commit nothing"
}
