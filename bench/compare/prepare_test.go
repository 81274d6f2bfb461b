package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSpace(t *testing.T) {
	for _, c := range []struct {
		o          options
		data, more int64
	}{
		{options{large: 10_000, scale: 25}, 25e9, 15e9},
		{options{large: 10_000, scale: 25, guests: "a b c"}, 16e9, 15e9},
		{options{large: 10_000, only: "guests", guests: "a b c"}, 4e9, 15e9},
		{options{large: 50_000, only: "large", guests: "a b c"}, 54e9, 75e9},
		{options{only: "dump", scale: 25}, 1e9, 15e8},
	} {
		data, more := c.o.space(6)
		if near := func(a, b int64) bool { return a > b*9/10 && a < b*11/10 }; !near(data, c.data) || !near(more, c.more) {
			t.Errorf("%+v: %.1f and %.1f GB, want about %.1f and %.1f", c.o, float64(data)/1e9, float64(more)/1e9, float64(c.data)/1e9, float64(c.more)/1e9)
		}
	}
}

func TestMadeBytes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"guest-1.qcow2", "root/etc/passwd", "big/packs/1"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := madeBytes(dir); err != nil || n < 2<<20 || n >= 3<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
