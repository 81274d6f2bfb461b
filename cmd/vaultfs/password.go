package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/term"
)

// maxPassword bounds what is read as a password, in bytes.
const maxPassword = 4096

// A passwordSource says where a password comes from. The password itself never
// stands in an argument, nor in the environment of a child.
type passwordSource struct {
	file    string // --password-file
	command string // --password-command
	value   []byte // VAULTFS_PASSWORD, or what was asked for; nil if none
	envFile string // VAULTFS_PASSWORD_FILE
}

// passwordFromEnvironment also takes the password out of the environment, so
// that no child inherits it.
func passwordFromEnvironment() (s passwordSource) {
	if v := os.Getenv("VAULTFS_PASSWORD"); v != "" {
		s.value = []byte(v)
	}
	os.Unsetenv("VAULTFS_PASSWORD")
	s.envFile = os.Getenv("VAULTFS_PASSWORD_FILE")
	return s
}

// get returns the password without asking anybody, and nil if none is given.
func (s *passwordSource) get(ctx context.Context) ([]byte, error) {
	switch {
	case s.file != "" && s.command != "":
		return nil, &statusError{statusUsage, errors.New("--password-file and --password-command were both given: choose one")}
	case s.file != "":
		return readPasswordFile(s.file)
	case s.command != "":
		return runPasswordCommand(ctx, s.command)
	case s.value != nil:
		return s.value, nil
	case s.envFile != "":
		return readPasswordFile(s.envFile)
	}
	return nil, nil
}

func readPasswordFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	return firstLine(b, "the password file "+name)
}

func runPasswordCommand(ctx context.Context, command string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the password command failed (%w)", err)
	}
	return firstLine(b, "the output of the password command")
}

func firstLine(b []byte, where string) ([]byte, error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return nil, fmt.Errorf("%s begins with an empty line, and no password is empty", where)
	case len(line) > maxPassword:
		return nil, fmt.Errorf("%s begins with a line of more than %d bytes", where, maxPassword)
	}
	return line, nil
}

// canAsk tells whether there is a person to ask.
func (a *app) canAsk() bool { return !a.neverAsk && term.IsTerminal(int(a.stdin.Fd())) }

// ask reads a line from the terminal without showing it.
func (a *app) ask(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(a.stdin.Fd())
	shown, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("asking for the password: %w", err)
	}
	a.print.prompt(prompt)
	defer a.print.prompt("\n")
	type answer struct {
		line []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		read <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, shown) // there is nothing to be done about it
		return nil, ctx.Err()
	case r := <-read:
		if r.err != nil {
			return nil, fmt.Errorf("reading the password: %w", r.err)
		}
		return r.line, nil
	}
}

// newPassword returns the password that is to be: from a source if that gives
// one, else asked for twice.
func (a *app) newPassword(ctx context.Context, s *passwordSource, hint string) ([]byte, error) {
	password, err := s.get(ctx)
	if err != nil || password != nil {
		return password, err
	}
	if !a.canAsk() {
		return nil, &statusError{statusUsage, fmt.Errorf("no new password was given and there is no terminal to ask on: %s", hint)}
	}
	if password, err = a.ask(ctx, "New password: "); err != nil {
		return nil, err
	}
	again, err := a.ask(ctx, "The same again: ")
	switch {
	case err != nil:
		return nil, err
	case len(password) == 0:
		return nil, errors.New("the password is empty: nothing was changed")
	case !bytes.Equal(password, again):
		return nil, errors.New("the two passwords differ: nothing was changed")
	}
	return password, nil
}
