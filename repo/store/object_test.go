package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
)

func TestPutAndRead(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		data := randomBytes(1, 5000)
		for _, name := range []string{"config", "head/7", "packs/s1/aa", "packs/s1/bb"} {
			must(t, d.Put(ctx, name, data))
			sameContent(t, open(), name, data)
			if size, err := d.Size(ctx, name); size != 5000 || err != nil {
				t.Fatalf("size %d, %v", size, err)
			}
			if err := d.Put(ctx, name, nil); !errors.Is(err, ErrExists) {
				t.Fatalf("second put: %v", err)
			}
			sameContent(t, d, name, data)
			cold, err := d.GetCold(ctx, name, 5000, nil)
			if err != nil || !bytes.Equal(cold, data) {
				t.Fatalf("cold read: %v", err)
			}
			if _, err := d.Get(ctx, name, 4999); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("get over the limit: %v", err)
			}
		}
		must(t, d.Put(ctx, "empty", nil))
		sameContent(t, d, "empty", nil)
		want := []string{"config", "empty", "head/7", "packs/s1/aa", "packs/s1/bb"}
		if all := leftovers(t, d, "."); !slices.Equal(all, want) {
			t.Fatalf("files %v, want %v", all, want)
		}
	})
}

func TestReadAt(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		data := randomBytes(1, 100)
		for _, name := range []string{"runs/x/1", "packs/s/a"} {
			must(t, d.Put(ctx, name, data))
			for range 2 { // the second from an open file
				p := make([]byte, 10)
				if n, err := d.ReadAt(ctx, name, p, 20); n != 10 || err != nil || !bytes.Equal(p, data[20:30]) {
					t.Fatalf("inside: %d %v", n, err)
				}
				if n, err := d.ReadAt(ctx, name, p, 95); n != 5 || err != io.EOF || !bytes.Equal(p[:5], data[95:]) {
					t.Fatalf("over the end: %d %v", n, err)
				}
				if n, err := d.ReadAt(ctx, name, p, 1000); n != 0 || err != io.EOF {
					t.Fatalf("beyond the end: %d %v", n, err)
				}
				if _, err := d.ReadAt(ctx, name, p, -1); err == nil {
					t.Fatal("negative offset was accepted")
				}
			}
		}
	})
}

func TestNotFound(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		must(t, d.Put(ctx, "packs/s/a", nil))
		for _, name := range []string{"no", "packs/s/b", "packs/no/a", "packs/s", "packs"} {
			_, getErr := d.Get(ctx, name, 10)
			_, readErr := d.ReadAt(ctx, name, make([]byte, 1), 0)
			_, sizeErr := d.Size(ctx, name)
			for _, err := range []error{getErr, readErr, sizeErr, d.Delete(ctx, name)} {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if err := d.Put(ctx, "packs", nil); !errors.Is(err, ErrExists) {
			t.Errorf("put over a directory: %v", err)
		}
		if got := names(t, d, "absent/dir"); got != nil {
			t.Errorf("an absent prefix lists %v", got)
		}
	})
}

func TestCancelled(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := d.Put(over, "a", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("put: %v", err)
		}
		must(t, d.Put(ctx, "a", nil))
		err := d.List(over, "", func(Info) error { return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("list: %v", err)
		}
	})
}

func TestListAndDelete(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		var want []string
		for s := range 3 {
			for i := range 10 {
				name := fmt.Sprintf("packs/s%d/%d", s, i)
				must(t, d.Put(ctx, name, make([]byte, i)))
				want = append(want, name)
			}
		}
		must(t, d.Put(ctx, "runs/s0/0", nil))
		if _, err := d.OpenLease(ctx, "s9", nil); err != nil {
			t.Fatal(err)
		}
		if got := names(t, d, "packs"); !slices.Equal(got, want) {
			t.Fatalf("list packs: %v", got)
		}
		if got := names(t, d, "packs/s1"); !slices.Equal(got, want[10:20]) {
			t.Fatalf("list packs/s1: %v", got)
		}
		if got := names(t, d, ""); len(got) != 31 {
			t.Fatalf("list all: %v", got)
		}
		stop := errors.New("stop")
		if err := d.List(ctx, "packs", func(Info) error { return stop }); err != stop {
			t.Fatalf("fn's error came back as %v", err)
		}
		must(t, d.List(ctx, "packs", func(i Info) error {
			if int(i.Size) != int(i.Name[len(i.Name)-1]-'0') || i.ModTime.IsZero() {
				t.Errorf("%+v", i)
			}
			return d.Delete(ctx, i.Name)
		}))
		if got := names(t, d, ""); !slices.Equal(got, []string{"runs/s0/0"}) {
			t.Fatalf("after deleting: %v", got)
		}
		if _, err := d.fs.stat("packs/s0"); err == nil {
			t.Fatal("packs/s0 outlives its last object")
		}
		if _, err := d.fs.stat("packs"); err != nil {
			t.Fatalf("packs is gone: %v", err)
		}
	})
}

func TestDeletedPackIsNotRead(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		must(t, d.Put(ctx, "packs/s/a", []byte("a")))
		p := make([]byte, 1)
		if _, err := d.ReadAt(ctx, "packs/s/a", p, 0); err != nil {
			t.Fatal(err)
		}
		must(t, d.Delete(ctx, "packs/s/a"))
		if _, err := d.ReadAt(ctx, "packs/s/a", p, 0); !errors.Is(err, ErrNotFound) {
			t.Fatalf("read of a deleted pack: %v", err)
		}
	})
}

// Objects of one directory come and go from two stores at once, so that the
// directory is removed and made again all the time.
func TestPutAgainstDelete(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		one, two := open(), open()
		var wg sync.WaitGroup
		for w := range 4 {
			d := one
			if w%2 == 1 {
				d = two
			}
			wg.Go(func() {
				for i := range 25 {
					name := fmt.Sprintf("packs/s/%d-%d", w, i)
					if err := d.Put(ctx, name, []byte(name)); err != nil {
						t.Error(err)
					}
					if got, err := d.Get(ctx, name, 100); string(got) != name {
						t.Errorf("%s: %q, %v", name, got, err)
					}
					if err := d.Delete(ctx, name); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := leftovers(t, one, "."); got != nil {
			t.Fatalf("left: %v", got)
		}
	})
}

func TestOneOfManyPutsWins(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		var wg sync.WaitGroup
		var won sync.Map
		for w := range 8 {
			d := open()
			wg.Go(func() {
				err := d.Put(ctx, "head/1", []byte{byte(w)})
				if err == nil {
					won.Store(w, true)
				} else if !errors.Is(err, ErrExists) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var winners []int
		won.Range(func(w, _ any) bool { winners = append(winners, w.(int)); return true })
		if len(winners) != 1 {
			t.Fatalf("winners %v", winners)
		}
		sameContent(t, open(), "head/1", []byte{byte(winners[0])})
	})
}

func TestHandlesAreBounded(t *testing.T) {
	d, err := NewMem().Store()
	must(t, err)
	const packs = 3 * maxHandles
	for i := range packs {
		must(t, d.Put(ctx, fmt.Sprintf("packs/s/%d", i), []byte{byte(i)}))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 4 * packs {
				n := (i*(w+1) + w) % packs
				p := make([]byte, 1)
				if _, err := d.ReadAt(ctx, fmt.Sprintf("packs/s/%d", n), p, 0); err != nil || p[0] != byte(n) {
					t.Errorf("pack %d: %v %v", n, p, err)
				}
			}
		})
	}
	wg.Wait()
	if n := d.handles.recent.Len(); n != maxHandles || len(d.handles.byName) != n {
		t.Fatalf("%d files are open", n)
	}
}
