package repo_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
)

// of returns the names of the victim's objects of one sort, sorted.
func (v *victim) of(sort string) (names []string) {
	for name := range v.objects {
		if strings.HasPrefix(name, sort+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// heads are the old and the new one.
func (v *victim) heads(t *testing.T) (old, newest string) {
	t.Helper()
	heads := v.of("head")
	if len(heads) != 2 {
		t.Fatalf("heads %v, want two", heads)
	}
	return heads[0], heads[1]
}

func TestTruncatedExtendedAndDeletedObjects(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	_, newest := v.heads(t)
	for name, b := range v.objects {
		for what, changed := range map[string][]byte{
			"empty": {}, "half": b[:len(b)/2], "one byte short": b[:len(b)-1], "one byte long": append(bytes.Clone(b), 0),
		} {
			v.examine(t, v.with(t, map[string][]byte{name: changed})).mustName(t, name)
			if t.Failed() {
				t.Fatalf("%s: %s", name, what)
			}
		}
		o := v.examine(t, v.with(t, map[string][]byte{name: nil}))
		switch {
		case strings.HasPrefix(name, "snapshots/"):
			// The next snapshot of the source names it; nobody can tell that the
			// newest was there: SECURITY.md says so.
			_, found := o.found[label(name)]
			if found != (name == "snapshots/"+v.snapshots[0].ID) || len(o.missing) != 1 || len(o.lost) > 0 {
				t.Errorf("without %s: %+v", name, o)
			}
		case strings.HasPrefix(name, "head/") && name != newest:
			if len(o.found) > 0 || len(o.lost) > 0 {
				t.Errorf("without %s: %+v", name, o)
			}
		case strings.HasPrefix(name, "keys/"):
			if o.openErr == nil || !strings.Contains(o.openErr.Error(), "no key slot") {
				t.Errorf("without %s: %v", name, o.openErr)
			}
		case name == newest:
			// The old head names runs that were merged into others.
			if len(o.found) == 0 || len(o.lost) > 0 || len(o.touched()) > 0 {
				t.Errorf("without %s: %+v", name, o)
			}
		default:
			o.mustName(t, name)
		}
		if t.Failed() {
			t.Fatalf("%s deleted", name)
		}
	}
}

// Two objects of a kind in each other's place: both are named.
func TestSwappedObjects(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for _, sort := range []string{"packs", "runs", "snapshots", "head"} {
		names := v.of(sort)
		for i := 1; i < len(names); i++ {
			a, b := names[i-1], names[i]
			o := v.examine(t, v.with(t, map[string][]byte{a: v.objects[b], b: v.objects[a]}))
			for _, name := range []string{a, b} {
				if _, ok := o.found[label(name)]; !ok {
					t.Errorf("%s and %s swapped: found %v", a, b, o.found)
				}
			}
			if len(o.found) > 2 {
				t.Errorf("%s and %s swapped: found %v", a, b, o.found)
			}
			if touched := o.touched(); !maps.Equal(touched, o.lost) {
				t.Errorf("%s and %s swapped: said to be lost: %v; cannot be read: %v", a, b, touched, o.lost)
			}
		}
	}
}

// An older head in the place of a newer one is not believed, and put back under
// its own name loses nothing.
func TestOldHeadPutBack(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	old, newest := v.heads(t)
	v.examine(t, v.with(t, map[string][]byte{newest: v.objects[old]})).mustName(t, newest)
	o := v.examine(t, v.with(t, map[string][]byte{newest: nil}))
	if len(o.found) == 0 || len(o.lost) > 0 || len(o.touched()) > 0 {
		t.Errorf("newest head gone: %+v", o)
	}
}

// What belongs to another repository is not taken for ours, whether it comes
// under its own name or in the place of an object of ours.
func TestObjectsOfAnotherRepository(t *testing.T) {
	v, other := newVictim(t, "vm/a", 10), newVictim(t, "vm/a", 10)
	for _, sort := range []string{"packs", "runs", "snapshots", "head", "keys"} {
		ours, theirs := v.of(sort), other.of(sort)
		v.examine(t, v.with(t, map[string][]byte{ours[0]: other.objects[theirs[0]]})).mustName(t, ours[0])
		if t.Failed() {
			t.Fatalf("in the place of %s", ours[0])
		}
		o := v.examine(t, v.with(t, map[string][]byte{theirs[0]: other.objects[theirs[0]]}))
		if o.openErr != nil || len(o.lost) > 0 || len(o.missing) > 0 {
			t.Errorf("%s beside ours: %+v", theirs[0], o)
		}
		_, found := o.found[label(theirs[0])]
		unlisted := sort == "packs" || sort == "runs" // garbage that no head names
		if !found && !unlisted && sort != "head" {
			t.Errorf("%s beside ours is not found", theirs[0])
		}
	}
	o := v.examine(t, v.with(t, map[string][]byte{"config": other.objects["config"]}))
	if o.openErr == nil || !strings.Contains(o.openErr.Error(), "config") {
		t.Errorf("another config: %v", o.openErr)
	}
}

// A pack that lies with another session is not found where it should be.
func TestMovedPack(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	packs := v.of("packs")
	from := packs[0]
	to := packs[len(packs)-1][:len("packs/")+32] + from[len("packs/")+32:]
	if from == to {
		t.Fatal("the first and the last pack are of one session")
	}
	o := v.examine(t, v.with(t, map[string][]byte{from: nil, to: v.objects[from]}))
	if _, ok := o.found[label(from)]; !ok || !maps.Equal(o.touched(), o.lost) || len(o.lost) == 0 {
		t.Errorf("%+v", o)
	}
}

func TestWrongPasswordAndDamagedSlot(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	slot := v.of("keys")[0]
	st := v.with(t, map[string][]byte{slot: flipped(v.objects[slot], 30, 0)}) // in the salt
	for _, password := range []string{"secret", "wrong"} {
		_, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte(password)})
		if err == nil || !strings.Contains(err.Error(), label(slot)) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("password %s: %v", password, err)
		}
	}
}
