package stdin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
	"vaultfs/internal/testrepo"
	"vaultfs/repo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content reads the one file of a snapshot.
func content(t testing.TB, r *repo.Repo, s *repo.Snapshot) []byte {
	t.Helper()
	f, err := r.OpenFile(t.Context(), s.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// none makes sure that nothing was committed.
func none(t testing.TB, r *repo.Repo) {
	t.Helper()
	if all, err := r.Snapshots(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
}

func TestStream(t *testing.T) {
	r := testrepo.New(t)
	noise := make([]byte, 5<<20+7)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	for _, in := range []io.Reader{bytes.NewReader(noise), iotest.HalfReader(bytes.NewReader(noise)), iotest.DataErrReader(bytes.NewReader(noise))} {
		m, err := Ingest(t.Context(), r, Options{Name: "db/orders", Stdin: in, Verify: true, Program: "test"})
		if err != nil {
			t.Fatal(err)
		}
		s := m.Snapshot
		if s.Source != "stdin/db/orders" || s.Kind != Kind || s.Info.Mode != "stdin" || s.Items[0].Name != "orders" || s.Info.Summary.BytesRead != int64(len(noise)) {
			t.Errorf("%+v", s)
		}
		if !bytes.Equal(content(t, r, s), noise) {
			t.Error("other bytes come back")
		}
	}
	m, err := Ingest(t.Context(), r, Options{Name: "empty", FileName: "nothing.txt", AllowEmpty: true, Stdin: strings.NewReader("")})
	if err != nil || len(content(t, r, m.Snapshot)) > 0 || m.Snapshot.Items[0].Name != "nothing.txt" {
		t.Errorf("%+v, %v", m, err)
	}
}

var errTape = errors.New("the tape broke")

func TestFailing(t *testing.T) {
	r := testrepo.New(t)
	broken := io.MultiReader(strings.NewReader("some of it"), iotest.ErrReader(errTape))
	for _, c := range []struct {
		o    Options
		says string
		is   error
	}{
		{Options{Name: "a", Stdin: strings.NewReader("")}, "standard input: nothing came", ErrEmpty},
		{Options{Name: "a", Stdin: broken}, "reading standard input failed after", errTape},
		{Options{Name: "a", Stdin: iotest.ErrReader(io.ErrUnexpectedEOF)}, "reading standard input failed after 0 bytes", io.ErrUnexpectedEOF},
		{Options{Stdin: strings.NewReader("x")}, "--name", ErrUsage},
		{Options{Name: "a@b", Stdin: strings.NewReader("x")}, "holds an @", ErrUsage},
		{Options{Name: "a", FileName: "b/c", Stdin: strings.NewReader("x")}, "without a directory", ErrUsage},
		{Options{Name: "a/..", Stdin: strings.NewReader("x")}, `".." is none`, ErrUsage},
		{Options{Name: "a"}, "no standard input", ErrUsage},
		{Options{Name: "a", Command: []string{"false"}}, `the command "false" failed (exit status 1): what it printed until then, 0 bytes`, nil},
		{Options{Name: "a", Command: []string{"sh", "-c", "echo half; echo no luck >&2; exit 3"}}, `failed (exit status 3), saying "no luck": what it printed until then, 5 bytes`, nil},
		{Options{Name: "a", Command: []string{"sh", "-c", "echo half; kill -9 $$"}}, "signal: killed", nil},
		{Options{Name: "a", Command: []string{"true"}}, `the output of "true": nothing came`, ErrEmpty},
		{Options{Name: "a", Command: []string{"/no/such/program"}}, "cannot be started", nil},
	} {
		_, err := Ingest(t.Context(), r, c.o)
		if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	none(t, r)
}

func TestCommand(t *testing.T) {
	r := testrepo.New(t)
	var stderr bytes.Buffer
	m, err := Ingest(t.Context(), r, Options{
		Name: "dump", Command: []string{"sh", "-c", "cat; echo and more; echo working >&2"}, Stdin: strings.NewReader("input, "), Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, r, m.Snapshot); string(got) != "input, and more\n" || stderr.String() != "working\n" {
		t.Errorf("%q, %q", got, stderr.String())
	}
	if notes := m.Snapshot.Info.Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "the output of sh -c cat;") {
		t.Errorf("%q", notes)
	}
}

// Whoever hangs is left behind, and a command is ended.
func TestInterrupted(t *testing.T) {
	r := testrepo.New(t)
	in, out := io.Pipe()
	defer out.Close()
	for _, o := range []Options{{Name: "a", Stdin: in}, {Name: "a", Command: []string{"sleep", "1000"}}} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		_, err := Ingest(ctx, r, o)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 4*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	}
	none(t, r)
}
