package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// outcomes is how many disks are looked at for each step that crashed.
const outcomes = 25

// crashEverywhere runs work on a prepared disk once for each of its steps,
// crashing there, and once to the end, and has verify look at what a power
// loss or a kill may leave. verify is told the error of work.
func crashEverywhere(t *testing.T, c crippled, prepare, work func(d *Dir) error, verify func(d *Dir, err error) error) {
	t.Helper()
	for n := 1; ; n++ {
		m := NewMem()
		must(t, prepare(c.over(t, &memFS{m: m})))
		before := m.Ops()
		m.CrashAt(before + n)
		err := work(c.over(t, &memFS{m: m}))
		reached := m.Ops() == before+n
		if reached && err == nil && !strings.HasPrefix(m.Trace()[before+n-1], "rmdir") && !cleansUp(m.Trace()[before+n-1]) {
			t.Fatalf("step %d (%s) crashed and nobody noticed", n, m.Trace()[before+n-1])
		}
		if err != nil && !errors.Is(err, ErrCrashed) {
			t.Fatalf("step %d: %v", n, err)
		}
		for seed := range uint64(outcomes) {
			after := m.Crash(rand.New(rand.NewPCG(seed, uint64(n))))
			if seed == 0 {
				after = m.Kill()
			}
			if bad := verify(c.over(t, &memFS{m: after}), err); bad != nil {
				t.Fatalf("crash at step %d, outcome %d, work said %v: %v\n%s", n, seed, err, bad, strings.Join(m.Trace(), "\n"))
			}
		}
		if !reached {
			if n < 3 {
				t.Fatalf("only %d steps", n)
			}
			return
		}
	}
}

// cleansUp tells steps after the promise is kept: their failure is no news.
func cleansUp(step string) bool {
	return strings.HasPrefix(step, "unlink tmp/") || strings.HasPrefix(step, "syncdir packs/")
}

// whole reports whether an object is there; one that is there must be want.
func whole(d *Dir, name string, want []byte) (bool, error) {
	got, err := d.Get(ctx, name, 1<<20)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s is torn: %d bytes", name, len(got))
	}
	return true, err
}

func nothing(*Dir) error { return nil }

func TestPutCrashes(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		one, two := randomBytes(1, 300), randomBytes(2, 200)
		var first error
		work := func(d *Dir) error {
			if first = d.Put(ctx, "packs/s/one", one); first != nil {
				return first
			}
			return d.Put(ctx, "packs/s/two", two)
		}
		crashEverywhere(t, c, nothing, work, func(d *Dir, err error) error {
			hasOne, badOne := whole(d, "packs/s/one", one)
			hasTwo, badTwo := whole(d, "packs/s/two", two)
			if !hasOne && first == nil || !hasTwo && err == nil {
				return errors.New("an object is lost that was put")
			}
			return errors.Join(badOne, badTwo, cleanAndEmpty(d))
		})
	})
}

// cleanAndEmpty checks that nothing is left in tmp/ once it was cleaned.
func cleanAndEmpty(d *Dir) error {
	if _, err := d.CleanTemp(ctx); err != nil {
		return err
	}
	err := d.fs.readDir(tmpDir, func(base string, _ fileStat) error { return errors.New("tmp/" + base + " is left") })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func TestCommitCrashes(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		manifest := randomBytes(1, 300)
		work := func(d *Dir) error {
			l, err := d.OpenLease(ctx, "s1", []byte("epoch 1"))
			if err != nil {
				return err
			}
			return l.Commit(ctx, manifest, "snapshots/vm/s1")
		}
		crashEverywhere(t, c, nothing, work, func(d *Dir, err error) error {
			has, bad := whole(d, "snapshots/vm/s1", manifest)
			all, listErr := d.Leases(ctx)
			if bad = errors.Join(bad, listErr); bad != nil {
				return bad
			}
			if err == nil && (!has || len(all) > 0) {
				return fmt.Errorf("committed: object %t, leases %v", has, all)
			}
			for _, l := range all {
				if l.Alive {
					return errors.New("a lease outlived its process")
				}
				if err := d.BreakLease(ctx, l.Name); err != nil {
					return err
				}
			}
			return cleanAndEmpty(d)
		})
	})
}

// Once OpenLease has returned, the lease is there with its content.
func TestOpenLeaseCrashes(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		work := func(d *Dir) error {
			_, err := d.OpenLease(ctx, "s1", []byte("epoch 1"))
			return err
		}
		crashEverywhere(t, c, nothing, work, func(d *Dir, err error) error {
			all, bad := d.Leases(ctx)
			if bad != nil {
				return bad
			}
			if err == nil && len(all) != 1 {
				return errors.New("the lease is lost")
			}
			for _, l := range all {
				if string(l.Content) != "epoch 1" || l.Alive {
					return fmt.Errorf("lease %+v", l)
				}
			}
			return nil
		})
	})
}

// A break that returned nil is for ever, and the owner cannot commit.
func TestBreakCrashes(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		var owner *Lease
		prepare := func(d *Dir) (err error) {
			owner, err = d.OpenLease(ctx, "s1", nil)
			return err
		}
		work := func(d *Dir) error {
			if err := d.BreakLease(ctx, "s1"); err != nil {
				return err
			}
			if err := owner.Commit(ctx, []byte("m"), "snapshots/s1"); !errors.Is(err, ErrBroken) && !errors.Is(err, ErrCrashed) {
				return fmt.Errorf("a broken lease commits: %w", err)
			}
			return nil
		}
		// The steps are few: unlink, syncdir, and none more.
		for n := 1; n <= 3; n++ {
			m := NewMem()
			d := c.over(t, &memFS{m: m})
			must(t, prepare(d))
			m.CrashAt(m.Ops() + n)
			err := work(d)
			if (err == nil) != (n == 3) {
				t.Fatalf("step %d: %v", n, err)
			}
			for seed := range uint64(outcomes) {
				after := c.over(t, &memFS{m: m.Crash(rand.New(rand.NewPCG(seed, 0)))})
				if has, _ := whole(after, "snapshots/s1", nil); has {
					t.Fatal("the object is there")
				}
				if err == nil && lease(t, after, "s1") != nil {
					t.Fatal("the lease is back")
				}
			}
		}
	})
}

func TestDeleteCrashes(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		a, b := randomBytes(1, 100), randomBytes(2, 100)
		prepare := func(d *Dir) error {
			return errors.Join(d.Put(ctx, "packs/s/a", a), d.Put(ctx, "packs/s/b", b))
		}
		var first error
		work := func(d *Dir) error {
			if first = d.Delete(ctx, "packs/s/a"); first != nil {
				return first
			}
			if err := d.Delete(ctx, "packs/s/b"); err != nil {
				return err
			}
			// The directory was removed, and not durably; this one is new.
			return d.Put(ctx, "packs/s/c", a)
		}
		crashEverywhere(t, c, prepare, work, func(d *Dir, err error) error {
			hasA, badA := whole(d, "packs/s/a", a)
			hasB, badB := whole(d, "packs/s/b", b)
			hasC, badC := whole(d, "packs/s/c", a)
			if first == nil && hasA || err == nil && hasB {
				return errors.New("a deleted object is back")
			}
			if err == nil && !hasC {
				return errors.New("an object is lost that was put")
			}
			return errors.Join(badA, badB, badC)
		})
	})
}

// Another process made the directory and has not synced its parent: an
// object that is put into it must not depend on that.
func TestPutIntoDirectoryOfAnother(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		m := NewMem()
		other, d := c.over(t, &memFS{m: m}), c.over(t, &memFS{m: m})
		must(t, other.mkdirAll("packs/s"))
		must(t, d.Put(ctx, "packs/s/a", []byte("a")))
		for seed := range uint64(outcomes) {
			sameContent(t, c.over(t, &memFS{m: m.Crash(rand.New(rand.NewPCG(seed, 0)))}), "packs/s/a", []byte("a"))
		}
	})
}

// Two deletes of a directory's last objects: one removes the directory when
// the other has unlinked its object, and not synced that yet.
func TestDirectoryRemovedUnderDelete(t *testing.T) {
	m := NewMem()
	d, err := m.Store()
	must(t, err)
	must(t, d.Put(ctx, "packs/s/a", []byte("a")))
	must(t, d.fs.unlink("packs/s/a"))
	d.removeIfEmpty("packs/s")
	if err := d.fs.syncDir("packs/s"); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("the directory is there: %v", err)
	}
	for seed := range uint64(outcomes) {
		after, err := m.Crash(rand.New(rand.NewPCG(seed, 0))).Store()
		must(t, err)
		if has, _ := whole(after, "packs/s/a", nil); has {
			t.Fatal("a deleted object is back")
		}
	}
}

// The order of the steps of a put, and no more syncs than needed.
func TestPutSyncsFileThenDirectory(t *testing.T) {
	m := NewMem()
	d, err := m.Store()
	must(t, err)
	must(t, d.Put(ctx, "packs/s/a", []byte("a")))
	must(t, d.Put(ctx, "packs/s/b", []byte("b")))
	want := []string{
		"mkdir packs", "mkdir packs/s", "write #4", "sync #4", "link packs/s/a", "syncdir packs/s", "syncdir packs", "syncdir .",
		"write #5", "sync #5", "link packs/s/b", "syncdir packs/s",
	}
	if got := m.Trace(); !slices.Equal(got, want) {
		t.Fatalf("steps %q, want %q", got, want)
	}
}

// Whatever step of a put or commit fails, the object is not there, no
// temporary is, and the error says why. No sync is tried twice.
func TestEveryFailingStep(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		works := map[string]func(d *Dir) error{
			"put": func(d *Dir) error { return d.Put(ctx, "packs/s/a", []byte("abcd")) },
			"commit": func(d *Dir) error {
				l, err := d.OpenLease(ctx, "s1", []byte("lease"))
				if err != nil {
					return err
				}
				return l.Commit(ctx, []byte("abcd"), "snapshots/a")
			},
		}
		for name, work := range works {
			for _, errno := range []syscall.Errno{unix.ENOSPC, unix.EIO, unix.EROFS} {
				failEverywhere(t, c, name, work, errno)
			}
		}
	})
}

func failEverywhere(t *testing.T, c crippled, name string, work func(*Dir) error, errno syscall.Errno) {
	t.Helper()
	for n := 1; ; n++ {
		m := NewMem()
		d := c.over(t, &memFS{m: m})
		m.FailOp(n, errno)
		err := work(d)
		steps := m.Trace()
		if len(steps) < n {
			must(t, err)
			return
		}
		if cleansUp(steps[n-1]) && err == nil {
			continue
		}
		if !errors.Is(err, errno) || errno == unix.ENOSPC && !errors.Is(err, ErrFull) || errno == unix.EROFS && !errors.Is(err, ErrReadOnly) {
			t.Fatalf("%s, step %d (%s) fails with %v: error %v", name, n, steps[n-1], errno, err)
		}
		if strings.HasPrefix(steps[n-1], "sync #") && slices.Contains(steps[n:], steps[n-1]) {
			t.Fatalf("%s: a failed sync was tried again: %q", name, steps)
		}
		must(t, cleanAndEmpty(c.over(t, &memFS{m: m.Kill()})))
		if got := leftovers(t, d, "."); len(got) > 0 {
			t.Fatalf("%s, step %d (%s) failed, and left %v", name, n, steps[n-1], got)
		}
	}
}

// Somebody else deletes the only object of a directory, and the directory with it,
// in which this process then puts the next one: its entry is not durable any more.
func TestPutIntoADirectoryThatOthersRemovedIsDurable(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		m := NewMem()
		other, d := c.over(t, &memFS{m: m}), c.over(t, &memFS{m: m})
		must(t, d.Put(ctx, "packs/s/a", []byte("a")))
		must(t, other.Delete(ctx, "packs/s/a"))
		must(t, d.Put(ctx, "packs/s/b", []byte("b")))
		for seed := range uint64(outcomes) {
			sameContent(t, c.over(t, &memFS{m: m.Crash(rand.New(rand.NewPCG(seed, 0)))}), "packs/s/b", []byte("b"))
		}
	})
}
