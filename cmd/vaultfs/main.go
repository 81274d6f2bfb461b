// Command vaultfs backs up the disks of virtual machines into an encrypted,
// deduplicating repository and shows every backup as files.
//
// Each command is one file: it parses, calls one function of a library, and
// prints. What is printed, and how, is in print.go.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	syscall.Umask(0o077) // what is written is for its owner alone
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	os.Exit(a.run(os.Args[1:]))
}

// run executes a command line and returns the exit status.
func (a *app) run(args []string) int {
	// The first signal asks the command to end in good order, a second one
	// kills.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	// A reader that has gone away is an error of the write, so that an ingest
	// goes on. Notify, not Ignore: children must not inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	root := a.rootCommand()
	root.SetArgs(args)
	endProfiles := func() error { return nil }
	root.PersistentPreRunE = func(*cobra.Command, []string) (err error) {
		stop, err := a.profiles.start()
		if err == nil {
			endProfiles = stop
		}
		return err
	}
	err := root.ExecuteContext(ctx)
	err = errors.Join(err, endProfiles())
	if err != nil && ctx.Err() != nil {
		err = interrupted(err)
	}
	sentence, status := a.explain(err)
	a.print.fail(sentence, status)
	status = a.print.end(status)
	if a.report != nil {
		a.report(sentence, status)
	}
	return status
}
