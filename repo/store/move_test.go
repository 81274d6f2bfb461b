package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// linkless is a file system in which a file has one name.
type linkless struct{ crippled }

func (l linkless) link(file, string) error { return unix.EPERM }

func TestMove(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		content := randomBytes(1, 300)
		must(t, d.Put(ctx, "packs/s/a", content))
		if _, err := d.ReadAt(ctx, "packs/s/a", make([]byte, 10), 0); err != nil {
			t.Fatal(err) // it stays open, and must not be read under its old name later
		}
		must(t, d.Move(ctx, "packs/s/a", "quarantine/packs/s/a"))
		sameContent(t, d, "quarantine/packs/s/a", content)
		if got := names(t, d, ""); !slices.Equal(got, []string{"quarantine/packs/s/a"}) {
			t.Fatalf("objects %q", got)
		}
		if _, err := d.ReadAt(ctx, "packs/s/a", make([]byte, 10), 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("reading the old name: %v", err)
		}
		if err := d.Move(ctx, "packs/s/a", "quarantine/b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("moving what is gone: %v", err)
		}
		must(t, d.Put(ctx, "packs/s/a", content))
		if err := d.Move(ctx, "packs/s/a", "quarantine/packs/s/a"); !errors.Is(err, ErrExists) {
			t.Errorf("moving to a name that is taken: %v", err)
		}
		sameContent(t, d, "packs/s/a", content)
		for _, name := range []string{"sessions/x", "tmp/x", "../x"} {
			if err := d.Move(ctx, "packs/s/a", name); !errors.Is(err, ErrBadName) {
				t.Errorf("moving to %s: %v", name, err)
			}
		}
	})
}

// Where files cannot have a second name, a move is a rename.
func TestMoveWithoutLinks(t *testing.T) {
	m := NewMem()
	d, err := m.Store()
	must(t, err)
	must(t, d.Put(ctx, "packs/s/a", []byte("a")))
	must(t, d.Put(ctx, "packs/s/b", []byte("b")))
	less, err := newDir(linkless{crippled{fileSystem: &memFS{m: m}}})
	must(t, err)
	if err := less.Move(ctx, "packs/s/a", "packs/s/b"); !errors.Is(err, ErrExists) {
		t.Errorf("moving to a name that is taken: %v", err)
	}
	must(t, less.Move(ctx, "packs/s/a", "quarantine/packs/s/a"))
	if err := less.Move(ctx, "packs/s/a", "quarantine/packs/s/c"); !errors.Is(err, ErrNotFound) {
		t.Errorf("moving what is gone: %v", err)
	}
	if got := names(t, d, ""); !slices.Equal(got, []string{"packs/s/b", "quarantine/packs/s/a"}) {
		t.Fatalf("objects %q", got)
	}
}

// Whenever a move is interrupted, the object is under one name or both, and
// the move can be done again.
func TestMoveCrashes(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		content := randomBytes(1, 300)
		prepare := func(d *Dir) error {
			return errors.Join(d.Put(ctx, "packs/s/a", content), d.Put(ctx, "packs/s/b", content))
		}
		work := func(d *Dir) error { return d.Move(ctx, "packs/s/a", "quarantine/packs/s/a") }
		crashEverywhere(t, c, prepare, work, func(d *Dir, err error) error {
			old, badOld := whole(d, "packs/s/a", content)
			moved, badNew := whole(d, "quarantine/packs/s/a", content)
			if bad := errors.Join(badOld, badNew); bad != nil {
				return bad
			}
			if !old && !moved || err == nil && (old || !moved) {
				return fmt.Errorf("it is under its old name: %t, under its new one: %t", old, moved)
			}
			if !old {
				return nil
			}
			if err := work(d); err != nil {
				return fmt.Errorf("moving it again: %w", err)
			}
			if got := names(t, d, ""); !slices.Equal(got, []string{"packs/s/b", "quarantine/packs/s/a"}) {
				return fmt.Errorf("then there are %q", got)
			}
			return cleanAndEmpty(d)
		})
	})
}

// Whatever step of a move fails, the object is not lost, and the error says why.
func TestMoveFailingSteps(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		for n := 1; ; n++ {
			m := NewMem()
			d := c.over(t, &memFS{m: m})
			must(t, d.Put(ctx, "packs/s/a", []byte("abcd")))
			before := m.Ops()
			m.FailOp(before+n, unix.EIO)
			err := d.Move(ctx, "packs/s/a", "quarantine/packs/s/a")
			if m.Ops() < before+n {
				must(t, err)
				return
			}
			if !errors.Is(err, unix.EIO) {
				if step := m.Trace()[before+n-1]; step != "rmdir packs/s" && !cleansUp(step) {
					t.Fatalf("step %d (%s): %v", n, step, err)
				}
			}
			old, _ := whole(d, "packs/s/a", []byte("abcd"))
			moved, _ := whole(d, "quarantine/packs/s/a", []byte("abcd"))
			if !old && !moved {
				t.Fatalf("step %d failed and the object is lost", n)
			}
		}
	})
}
