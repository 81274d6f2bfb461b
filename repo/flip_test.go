package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A victim is a repository of two snapshots whose objects are damaged one
// after the other, each in a fresh copy.
type victim struct {
	first, second backup
	objects       map[string][]byte
	snapshots     []*repo.Snapshot
}

// newVictim's second snapshot shares most with the first.
func newVictim(t *testing.T, source string, seed uint64) *victim {
	t.Helper()
	defer repo.SmallPacks()()
	st := newStore(t)
	initRepo(t, st)
	v := &victim{first: newBackup(source, seed), objects: map[string][]byte{}}
	v.second = v.first.changed(seed + 50)
	r := reopen(t, st)
	defer r.Close()
	mustIngest(t, r, v.first)
	mustIngest(t, r, v.second)
	v.snapshots = mustSnapshots(t, r)
	for _, name := range objects(t, st) {
		b, err := st.Get(t.Context(), name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		v.objects[name] = b
	}
	return v
}

// with is a store with some objects changed; nil deletes one.
func (v *victim) with(t testing.TB, changes map[string][]byte) *store.Dir {
	t.Helper()
	st := memStore(t, store.NewMem())
	for name, b := range v.objects {
		if c, ok := changes[name]; ok {
			b = c
		}
		if b == nil {
			continue
		}
		if err := st.Put(context.Background(), name, b); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range changes {
		if _, ok := v.objects[name]; !ok {
			if err := st.Put(context.Background(), name, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	return st
}

// label is what a finding calls an object.
func label(name string) string {
	parts := strings.Split(name, "/")
	last := parts[len(parts)-1]
	switch parts[0] {
	case "packs":
		return "pack " + last[:16]
	case "snapshots":
		return "snapshot " + last
	case "keys":
		return "key slot " + last
	case "runs":
		return "index run " + name
	}
	return name
}

// An outcome is what came of opening, verifying and reading a damaged copy.
type outcome struct {
	openErr error
	found   map[string]repo.Finding
	lost    map[string]bool // snapshot ID and item name of what gives errors
	missing map[string]bool // IDs of snapshots that are not listed
}

// examine never lets wrong bytes pass.
func (v *victim) examine(t *testing.T, st *store.Dir) outcome {
	t.Helper()
	o := outcome{found: map[string]repo.Finding{}, lost: map[string]bool{}, missing: map[string]bool{}}
	r, err := tryOpen(st, nil)
	if err != nil {
		o.openErr = err
		return o
	}
	defer r.Close()
	result, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: true})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	for _, f := range result.Findings {
		o.found[f.Object] = f
	}
	have, _ := r.Snapshots(t.Context())
	for i, s := range v.snapshots {
		at := slices.IndexFunc(have, func(h *repo.Snapshot) bool { return h.ID == s.ID })
		if at < 0 {
			o.missing[s.ID] = true
			continue
		}
		for name, err := range []backup{v.first, v.second}[i].items(t, r, have[at]) {
			if err != nil {
				o.lost[s.ID+" "+name] = true
				if !errors.Is(err, repo.ErrDamaged) {
					t.Errorf("%s: the error is no ErrDamaged: %v", name, err)
				}
			}
		}
	}
	return o
}

// touched is what the findings say is lost.
func (o outcome) touched() map[string]bool {
	all := map[string]bool{}
	for _, f := range o.found {
		for _, touch := range f.Touches {
			all[touch.Snapshot.ID+" "+touch.Item] = true
		}
	}
	return all
}

// mustName demands that the damage was found in the object of that name, that
// no other object is blamed, and that what is said to be lost is what cannot
// be read.
func (o outcome) mustName(t *testing.T, name string) {
	t.Helper()
	want := label(name)
	if o.openErr != nil {
		if !errors.Is(o.openErr, repo.ErrDamaged) || errors.Is(o.openErr, repo.ErrWrongPassword) || !strings.Contains(o.openErr.Error(), want) {
			t.Errorf("open says %v", o.openErr)
		}
		if want != "config" && !strings.HasPrefix(want, "key slot") {
			t.Errorf("not opened: %v", o.openErr)
		}
		return
	}
	if _, ok := o.found[want]; !ok || len(o.found) != 1 {
		t.Errorf("findings are %v, want %s alone", o.found, want)
	}
	if touched := o.touched(); fmt.Sprint(touched) != fmt.Sprint(o.lost) {
		t.Errorf("said to be lost: %v; cannot be read: %v", touched, o.lost)
	}
	for id := range o.missing {
		if want != "snapshot "+id {
			t.Errorf("snapshot %s is not listed", id)
		}
	}
}

// fields are the first bytes of an object's fields, from FORMAT.md.
func fields(name string, b []byte) (at []int) {
	n := len(b)
	switch strings.Split(name, "/")[0] {
	case "config": // magic, version, CBOR, checksum
		at = []int{0, 7, 8, 9, 10, 44, 45, n - 33, n - 32, n - 1}
	case "keys": // magic, version, map, kind, slot ID, salt, lock, label, payload, checksum
		at = []int{0, 7, 8, 10, 13, 22, 25, 57, 60, 64, 68, 70, 110, 400, 405, 410, n - 33, n - 32, n - 1}
	case "head", "runs": // magic, version, salt, content, tag
		at = []int{0, 6, 7, 8, 39, 40, n - 17, n - 16, n - 1}
	case "snapshots": // magic, version, salt, length, two parts
		first := 44 + int(b[42])<<8 + int(b[43])
		at = []int{0, 7, 8, 39, 40, 41, 42, 43, 44, first - 16, first - 1, first, n - 16, n - 1}
	case "packs": // header, chunks, footer, sealed secret, tail
		footer := int(b[n-12])<<24 | int(b[n-11])<<16 | int(b[n-10])<<8 | int(b[n-9])
		secret := 0
		if b[8] == 1 {
			secret = 1176
		}
		begin := n - 12 - secret - footer
		at = []int{0, 7, 8, 9, 15, 16, 31, 32, 63, 64, 65, begin - 1, begin, begin + footer - 1, begin + footer, n - 13,
			n - 12, n - 9, n - 8, n - 2, n - 1}
	}
	return at
}

func flipped(b []byte, at, bit int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1 << bit
	return b
}

func TestFlippedBitIsFoundAndNamed(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	type place struct {
		name    string
		at, bit int
	}
	var places []place
	rng := rand.New(rand.NewPCG(1, 1))
	names := objects(t, v.with(t, nil))
	for _, name := range names {
		for _, at := range fields(name, v.objects[name]) {
			places = append(places, place{name, at, rng.IntN(8)})
		}
	}
	t.Logf("%d objects, %d fields", len(names), len(places))
	for range 500 {
		name := names[rng.IntN(len(names))]
		places = append(places, place{name, rng.IntN(len(v.objects[name])), rng.IntN(8)})
	}
	inParts(t, func(t *testing.T, n int) (more bool) {
		p := places[n-1]
		v.examine(t, v.with(t, map[string][]byte{p.name: flipped(v.objects[p.name], p.at, p.bit)})).mustName(t, p.name)
		if t.Failed() {
			t.Fatalf("bit %d of byte %d of %d of %s", p.bit, p.at, len(v.objects[p.name]), p.name)
		}
		return n+2 <= len(places)
	})
}
