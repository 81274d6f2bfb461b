package restore_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/restore"
)

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	put := func(text string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		}
	}
	holds := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(dir + "/x"); err != nil || string(b) != want {
			t.Errorf("%q, %v", b, err)
		}
		mustHoldOnly(t, dir, "x")
	}
	if err := restore.Create(t.Context(), dir+"/x", false, put("one")); err != nil {
		t.Error(err)
	}
	holds("one")
	if err := restore.Create(t.Context(), dir+"/x", false, put("two")); err == nil || !strings.Contains(err.Error(), "exists: choose") {
		t.Error(err)
	}
	holds("one")
	if err := restore.Create(t.Context(), dir+"/x", true, put("two")); err != nil {
		t.Error(err)
	}
	holds("two")
	broken := errors.New("broken")
	if err := restore.Create(t.Context(), dir+"/x", true, func(w io.Writer) error { return errors.Join(put("three")(w), broken) }); !errors.Is(err, broken) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := restore.Create(ctx, dir+"/x", true, put("three")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	holds("two")
	if err := restore.Create(t.Context(), dir+"/absent/x", false, put("")); err == nil || !strings.Contains(err.Error(), "create it first") {
		t.Error(err)
	}
	// What is no file stays what it is.
	if err := unix.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	err := restore.Create(t.Context(), dir+"/pipe", true, put("three"))
	if info, gone := os.Stat(dir + "/pipe"); err == nil || !strings.Contains(err.Error(), "is not replaced") || gone != nil || info.Mode().IsRegular() {
		t.Errorf("%v, %v", err, info)
	}
}
