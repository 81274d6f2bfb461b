package data

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func TestRepeat(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 8*stretch)
	rand.NewChaCha8([32]byte{1}).Read(content)
	clear(content[2*stretch : 4*stretch]) // a hole
	raw, path := filepath.Join(dir, "raw"), filepath.Join(dir, "large")
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := repeat(t.Context(), path, 10*stretch, []string{raw}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	filled := bytes.Join([][]byte{content[:2*stretch], content[4*stretch:]}, nil)
	if len(got) != 10*stretch || !bytes.Equal(got[:len(filled)], filled) {
		t.Fatalf("%d bytes, or the first round is not the content", len(got))
	}
	for again := range 4 {
		differ := 0
		for i := 0; i < stretch; i += grain {
			if !bytes.Equal(filled[again*stretch+i:][:grain], got[len(filled)+again*stretch+i:][:grain]) {
				differ++
			}
		}
		if differ != 1 {
			t.Errorf("%d grains of a stretch are changed", differ)
		}
	}
	if err := os.WriteFile(raw, make([]byte, stretch), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := repeat(t.Context(), path, stretch, []string{raw}); err == nil {
		t.Error("nothing can be repeated, and no error")
	}
}

func TestMakeMakesOnce(t *testing.T) {
	m := Maker{Dir: t.TempDir(), Tell: func(string) {}}
	if _, err := m.make("a.raw", func(temp string) error {
		os.WriteFile(temp, nil, 0o600)
		return errors.New("broke off")
	}); err == nil {
		t.Fatal("no error")
	}
	if left, _ := os.ReadDir(m.Dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	made := 0
	for range 2 {
		path, err := m.make("a.raw", func(temp string) error {
			made++
			return os.WriteFile(temp, []byte("x"), 0o600)
		})
		if err != nil || filepath.Base(path) != "a.raw" {
			t.Fatalf("%q, %v", path, err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}

func TestGiven(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"a1.qcow2", "a2.qcow2", "b.qcow2"} {
		paths = append(paths, filepath.Join(dir, name))
		if err := os.WriteFile(paths[len(paths)-1], []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, err := Given(paths)
	if err != nil || len(g.Generations) != 2 || g.Other.Path != paths[2] || g.Other.Bytes == 0 {
		t.Errorf("%+v, %v", g, err)
	}
	for _, bad := range [][]string{paths[:2], append(paths[:2:2], dir), append(paths[:2:2], "missing.qcow2")} {
		if _, err := Given(bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}
