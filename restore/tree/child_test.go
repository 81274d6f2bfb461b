package tree_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
	"vaultfs/restore/tree"
)

// An order is what a process of its own is to restore.
type order struct {
	Repo, Source, Dest string
	Overwrite          tree.Overwrite
}

// An answer is what it says when it is done.
type answer struct {
	Report *tree.Report
	Err    string
	Losses map[tree.Loss]int64
}

const orderVariable = "RESTORE_ORDER"

func TestMain(m *testing.M) {
	if text := os.Getenv(orderVariable); text != "" {
		if err := carryOut(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// carryOut restores the newest snapshot of a source in this process.
func carryOut(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	st, err := store.OpenDir(o.Repo)
	if err != nil {
		return err
	}
	r, err := repo.Open(ctx, st, repo.OpenOptions{})
	if err != nil {
		return err
	}
	snap, err := r.Resolve(ctx, o.Source)
	if err != nil {
		return err
	}
	t, err := r.OpenTree(ctx, *snap.Item(repo.WholeTree))
	if err != nil {
		return err
	}
	report, err := tree.Restore(ctx, t, t.Root(), o.Dest, tree.Options{Overwrite: o.Overwrite})
	a := answer{Losses: map[tree.Loss]int64{}}
	if err != nil {
		a.Err = err.Error()
	}
	if report != nil {
		for _, f := range report.Failures {
			a.Losses[f.Loss] = f.Count
		}
		report.Failures = nil
		a.Report = report
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

// child is a process that restores the source to dest, as a user.
func (w *world) child(uid uint32, source, dest string) (*exec.Cmd, io.Reader) {
	w.Helper()
	self, err := os.Executable()
	w.must(err)
	copied := w.path("restorer") // the directory of the test's binary is for its owner alone
	b, err := os.ReadFile(self)
	w.must(err)
	w.must(os.WriteFile(copied, b, 0o755))
	w.must(os.Chmod(copied, 0o755))
	// The repository belongs to whoever restores.
	w.must(filepath.WalkDir(w.path("repo"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, int(uid), int(uid))
		}
		return err
	}))
	text, err := json.Marshal(order{Repo: w.path("repo"), Source: "tree/" + source, Dest: w.path(dest)})
	w.must(err)
	c := exec.Command(copied)
	c.Env = []string{orderVariable + "=" + string(text)}
	c.Dir = "/"
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := c.StdoutPipe()
	w.must(err)
	return c, out
}
