package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestBadNames(t *testing.T) {
	m := NewMem()
	d, err := m.Store()
	must(t, err)
	bad := []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", ".nfs01", "A", "a b", "a\x00", "ä", "a\\b",
		"sessions/a", "sessions", "tmp/a", strings.Repeat("a", maxElement+1), strings.Repeat("a/", maxDepth) + "a"}
	for _, name := range bad {
		_, getErr := d.Get(ctx, name, 1)
		_, readErr := d.ReadAt(ctx, name, nil, 0)
		_, sizeErr := d.Size(ctx, name)
		for _, err := range []error{getErr, readErr, sizeErr, d.Put(ctx, name, nil), d.Delete(ctx, name)} {
			if !errors.Is(err, ErrBadName) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	for _, name := range []string{"", "a/b", "..", "A"} {
		if _, err := d.OpenLease(ctx, name, nil); !errors.Is(err, ErrBadName) {
			t.Errorf("lease %q: %v", name, err)
		}
		if err := d.BreakLease(ctx, name); !errors.Is(err, ErrBadName) {
			t.Errorf("break %q: %v", name, err)
		}
	}
	if m.Ops() != 0 {
		t.Errorf("the disk was touched: %v", m.Trace())
	}
}

func FuzzCheckObject(f *testing.F) {
	for _, seed := range []string{"packs/a0/ff.x_-", "../x", "a/../b", "/", "", "a//b", "sessions/x", ".", "a\x00b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkObject(name) != nil {
			return
		}
		if filepath.Clean(name) != name || !filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00") {
			t.Fatalf("%q was accepted", name)
		}
		if strings.HasPrefix(name+"/", "sessions/") || strings.HasPrefix(name+"/", "tmp/") {
			t.Fatalf("%q was accepted, and is the store's own", name)
		}
	})
}
