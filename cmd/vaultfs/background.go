package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"vaultfs/repo"
)

// A mount in the background is this program again, in a session of its own.
// What it needs to know goes through a pipe: a password must not stand in its
// arguments or its environment. It answers through another, once it is ready
// or has failed.
const (
	orderFD  = 3
	answerFD = 4
)

// An order is what the process in the background is told.
type order struct {
	Password []byte // nil: none
}

// An answer is how the mount began.
type answer struct {
	Ready    bool
	Sentence string // the error, if it is not ready
	Status   int
}

// mountInBackground returns when the mount is ready, or with its error.
func (a *app) mountInBackground(ctx context.Context, dir string, o mountOptions) error {
	// Opening the repository first finds the right password, asking for it
	// where there is still somebody to ask.
	if err := a.withRepo(ctx, func(*repo.Repo) error { return nil }); err != nil {
		return err
	}
	password, err := a.password.get(ctx)
	if err != nil {
		return err
	}
	cmd, err := a.detachedCommand(dir, o)
	if err != nil {
		return err
	}
	got, err := start(ctx, cmd, order{password})
	switch {
	case err != nil:
		return fmt.Errorf("starting the mount in the background: %w", err)
	case !got.Ready:
		return &statusError{got.Status, errors.New(got.Sentence)}
	}
	if o.log == "" && !hasSystemLog() {
		a.print.warn("there is no system log here: what goes wrong in the mount is not recorded; give --log FILE")
	}
	a.print.mounted(a.repoPath, dir, cmd.Process.Pid)
	return nil
}

// detachedCommand is the command line of the process in the background. Its
// paths are absolute, as it runs in the root directory.
func (a *app) detachedCommand(dir string, o mountOptions) (*exec.Cmd, error) {
	args := []string{os.Args[0], "mount", "--detached"}
	add := func(flag, path string) (err error) {
		if path != "" {
			path, err = filepath.Abs(path)
			args = append(args, flag, path)
		}
		return err
	}
	cache := a.indexCache()
	if err := errors.Join(add("--repo", a.repoPath), add("--cache-dir", cache), add("--log", o.log)); err != nil {
		return nil, err
	}
	if cache == "" {
		args = append(args, "--no-cache")
	}
	if o.allowOther {
		args = append(args, "--allow-other")
	}
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: append(args, "--", dir), Dir: "/", Env: os.Environ(),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}, nil
}

// start runs the command, hands it the order and waits for its answer.
func start(ctx context.Context, cmd *exec.Cmd, o order) (got answer, err error) {
	orderRead, orderWrite, err := os.Pipe()
	if err != nil {
		return got, err
	}
	defer orderWrite.Close()
	answerRead, answerWrite, err := os.Pipe()
	if err != nil {
		orderRead.Close()
		return got, err
	}
	defer answerRead.Close()
	cmd.ExtraFiles = []*os.File{orderRead, answerWrite} // orderFD, answerFD
	err = cmd.Start()
	orderRead.Close()
	answerWrite.Close()
	if err != nil {
		return got, err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })()
	if err := json.NewEncoder(orderWrite).Encode(o); err != nil {
		return got, err
	}
	orderWrite.Close()
	if err := json.NewDecoder(answerRead).Decode(&got); err != nil {
		return got, errors.New("the process ended without a word")
	}
	return got, nil
}

// mountDetached is the mount in the background.
func (a *app) mountDetached(ctx context.Context, dir string, o mountOptions) error {
	in, out := os.NewFile(orderFD, "order"), os.NewFile(answerFD, "answer")
	for _, fd := range []int{orderFD, answerFD} {
		syscall.CloseOnExec(fd)
	}
	var told order
	b, err := io.ReadAll(io.LimitReader(in, 2*maxPassword+100))
	if err == nil {
		err = json.Unmarshal(b, &told)
	}
	if err != nil {
		return &statusError{statusUsage, errors.New("--detached is for vaultfs itself; use mount without it")}
	}
	in.Close()
	a.password = passwordSource{value: told.Password}
	reply := func(got answer) {
		if out != nil {
			_ = json.NewEncoder(out).Encode(got) // if nobody listens any more, nobody is told
			out.Close()
			out = nil
		}
	}
	a.report = func(sentence string, status int) { reply(answer{Sentence: sentence, Status: status}) }
	return a.mountHere(ctx, dir, o, func() { reply(answer{Ready: true}) })
}
