package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// mustRepair repairs and demands that this is no error.
func mustRepair(t testing.TB, st *store.Dir, o repo.RepairOptions) *repo.RepairResult {
	t.Helper()
	r := reopen(t, st)
	defer r.Close()
	result, err := r.Repair(t.Context(), o)
	if err != nil {
		t.Fatalf("repair: %v", err)
	}
	return result
}

// kindOf is the kind of pack that an object of a victim is.
func (v *victim) kindOf(name string) byte { return v.objects[name][8] }

// packsOf are a victim's packs of a kind.
func (v *victim) packsOf(kind byte) (names []string) {
	for _, name := range v.of("packs") {
		if v.kindOf(name) == kind {
			names = append(names, name)
		}
	}
	return names
}

// lossesOf are the items that a repair says have lost something.
func lossesOf(result *repo.RepairResult) map[string]bool {
	lost := map[string]bool{}
	for _, l := range result.Losses {
		lost[l.Snapshot.ID+" "+l.Item] = true
	}
	return lost
}

// checkLosses demands that what a repair says is lost is what cannot be read,
// and that every byte of a disk outside the ranges can be.
func (v *victim) checkLosses(t *testing.T, st *store.Dir, result *repo.RepairResult) {
	t.Helper()
	o := v.examine(t, st)
	if o.openErr != nil {
		t.Fatal(o.openErr)
	}
	if said := lossesOf(result); fmt.Sprint(said) != fmt.Sprint(o.lost) {
		t.Errorf("said to be lost: %v; cannot be read: %v", said, o.lost)
	}
	r := reopen(t, st)
	defer r.Close()
	for i, s := range v.snapshots {
		b := []backup{v.first, v.second}[i]
		if it := s.Item("vda"); !o.missing[s.ID] {
			checkDisk(t, r, b.disk, *it, result.Losses)
		}
	}
	for _, l := range result.Losses {
		for i, x := range l.Ranges {
			if x.Len <= 0 || i > 0 && l.Ranges[i-1].Off+l.Ranges[i-1].Len >= x.Off {
				t.Errorf("%s %s: the ranges %v are not in order, or not merged", l.Item, l.Path, l.Ranges)
			}
		}
	}
}

// checkDisk reads a disk grain by grain where it has data: a grain in one of the
// lost ranges gives an error or is right, any other is right.
func checkDisk(t *testing.T, r *repo.Repo, image scattered, it repo.Item, losses []repo.Loss) {
	t.Helper()
	lost := func(off int64) bool {
		return slices.ContainsFunc(losses, func(l repo.Loss) bool {
			return l.Item == it.Name && slices.ContainsFunc(l.Ranges, func(x repo.Range) bool { return x.Off <= off && off < x.Off+x.Len })
		})
	}
	d, err := r.OpenDisk(t.Context(), it)
	if err != nil {
		if !lost(0) {
			t.Errorf("the disk cannot be opened (%v), and that is not told", err)
		}
		return
	}
	for at, data := range image.data {
		for off := at / 4096 * 4096; off < min(at+int64(len(data)), image.size); off += 4096 {
			got, want := make([]byte, 4096), make([]byte, 4096)
			n, err := d.ReadAt(got, off)
			if err != nil && n < int(min(4096, image.size-off)) {
				if !lost(off) {
					t.Errorf("byte %d cannot be read (%v), and that is not told", off, err)
				}
				continue
			}
			if image.ReadAt(t.Context(), want, off); !bytes.Equal(got, want) {
				t.Fatalf("other bytes at %d", off)
			}
		}
	}
}

// damages are the ways in which a pack can be damaged.
func (v *victim) damages(name string) map[string][]byte {
	b := v.objects[name]
	end := len(b) - 12
	if v.kindOf(name) == 1 {
		end -= 1176
	}
	footer := int(b[len(b)-12])<<24 | int(b[len(b)-11])<<16 | int(b[len(b)-10])<<8 | int(b[len(b)-9])
	return map[string][]byte{
		"missing":         nil,
		"empty":           {},
		"cut off":         b[:len(b)*2/3],
		"header flipped":  flipped(b, 20, 3),
		"chunk flipped":   flipped(b, 70, 1),
		"footer flipped":  flipped(b, end-1, 1),
		"footer gone":     b[:end-footer],
		"tail flipped":    flipped(b, len(b)-2, 5),
		"longer than was": append(bytes.Clone(b), 7, 7, 7),
	}
}

// Whatever is damaged of whatever pack: what is good in it is saved, what is
// lost is told to the byte, and nothing is deleted. Afterwards nothing is
// damaged any more, and what is lost is what it was.
func TestRepairSetsPacksAside(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	packs := []string{v.packsOf(1)[1], v.packsOf(2)[0]}
	for _, name := range packs {
		for what, changed := range v.damages(name) {
			t.Run(fmt.Sprintf("kind %d %s/%s", v.kindOf(name), name[len(name)-4:], what), func(t *testing.T) {
				t.Parallel()
				st := v.with(t, map[string][]byte{name: changed})
				before := v.examine(t, v.with(t, map[string][]byte{name: changed}))
				dry := mustRepair(t, st, repo.RepairOptions{DryRun: true})
				if fmt.Sprint(lossesOf(dry)) != fmt.Sprint(before.lost) || len(dry.Before) != 1 || len(dry.SetAside) != 0 {
					t.Errorf("a dry run says %v of %v, set aside %v; lost is %v", lossesOf(dry), dry.Before, dry.SetAside, before.lost)
				}
				result := mustRepair(t, st, repo.RepairOptions{})
				v.checkLosses(t, st, result)
				if fmt.Sprint(lossesOf(result)) != fmt.Sprint(before.lost) {
					t.Errorf("lost before: %v, after: %v", before.lost, lossesOf(result))
				}
				if result.Whole() != (len(before.lost) == 0) {
					t.Errorf("whole is %t, lost was %v, found now is %v", result.Whole(), before.lost, result.After)
				}
				if changed == nil {
					return
				}
				if !slices.Equal(result.SetAside, []string{name}) {
					t.Errorf("set aside is %v", result.SetAside)
				}
				if kept, err := st.Get(t.Context(), "quarantine/"+name, 1<<30); err != nil || !bytes.Equal(kept, changed) {
					t.Errorf("the pack in quarantine: %d bytes, %v", len(kept), err)
				}
				for _, f := range result.After {
					if f.Object == label(name) {
						t.Errorf("it is still found: %v", f.Err)
					}
				}
				again := mustRepair(t, st, repo.RepairOptions{})
				if again.Saved != 0 || len(again.SetAside) != 0 || fmt.Sprint(lossesOf(again)) != fmt.Sprint(before.lost) {
					t.Errorf("again: %d chunks saved, %v set aside, lost %v", again.Saved, again.SetAside, lossesOf(again))
				}
			})
		}
	}
}

// After a repair the next backup of the same data makes the snapshots before it
// whole again, and verify finds nothing.
func TestBackupAfterRepairHeals(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for _, kind := range []byte{1, 2} {
		changes := map[string][]byte{}
		for i, name := range v.packsOf(kind) {
			if i%2 == 0 {
				changes[name] = flipped(v.objects[name], 70, 1)
			}
		}
		st := v.with(t, changes)
		if result := mustRepair(t, st, repo.RepairOptions{}); len(result.SetAside) != len(changes) || len(result.Losses) == 0 {
			t.Fatalf("set aside %d of %d, %d losses", len(result.SetAside), len(changes), len(result.Losses))
		}
		r := reopen(t, st)
		for i, b := range []backup{v.first, v.second} {
			mustIngest(t, r, b)
			b.mustRead(t, r, v.snapshots[i])
		}
		mustVerify(t, r)
		if result := mustRepair(t, st, repo.RepairOptions{}); !result.Whole() {
			t.Errorf("then lost are %v, found is %v", lossesOf(result), result.After)
		}
		r.Close()
	}
}

// A manifest that cannot be read is set aside, a mark stands in its place, and
// everything else goes on.
func TestRepairSetsManifestAside(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	for i, s := range v.snapshots {
		for what, at := range map[string]int{"structure part": 60, "private part": len(v.objects["snapshots/"+s.ID]) - 5} {
			t.Run(fmt.Sprint(what, " of snapshot ", i), func(t *testing.T) {
				name := "snapshots/" + s.ID
				damaged := flipped(v.objects[name], at, 2)
				st := v.with(t, map[string][]byte{name: damaged})
				result := mustRepair(t, st, repo.RepairOptions{})
				if len(result.Snapshots) != 1 || result.Snapshots[0].ID != s.ID || !slices.Equal(result.SetAside, []string{name}) || result.Whole() {
					t.Fatalf("lost snapshots %v, set aside %v", result.Snapshots, result.SetAside)
				}
				if source := result.Snapshots[0].Source; what == "private part" && source != "vm/a" {
					t.Errorf("its source is said to be %q", source)
				}
				if kept, err := st.Get(t.Context(), "quarantine/"+name, 1<<20); err != nil || !bytes.Equal(kept, damaged) {
					t.Errorf("in quarantine: %d bytes, %v", len(kept), err)
				}
				r := reopen(t, st)
				defer r.Close()
				mustVerify(t, r)
				other := 1 - i
				[]backup{v.first, v.second}[other].mustRead(t, r, v.snapshots[other])
				if result := mustRepair(t, st, repo.RepairOptions{}); !result.Whole() {
					t.Errorf("a second repair is not content: %+v", result)
				}
				next := mustIngest(t, r, v.second)
				if next.Info.Summary.ChunksNew != 0 {
					t.Errorf("the next backup stores %d chunks", next.Info.Summary.ChunksNew)
				}
			})
		}
	}
}

// A mark that cannot be read forgets nothing: the snapshot is listed again. Of one
// that is gone the mark is made anew.
func TestRepairSetsMarkAside(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	mark := "forgotten/" + v.snapshots[0].ID
	for what, changes := range map[string]map[string][]byte{
		"snapshot there": {mark: []byte("garbage")},
		"snapshot gone":  {mark: []byte("garbage"), "snapshots/" + v.snapshots[0].ID: nil},
	} {
		st := v.with(t, changes)
		result := mustRepair(t, st, repo.RepairOptions{})
		if !slices.Equal(result.SetAside, []string{mark}) || !result.Whole() {
			t.Errorf("%s: set aside %v, found %v", what, result.SetAside, result.After)
		}
		r := reopen(t, st)
		want := 2
		if what == "snapshot gone" {
			want = 1
		}
		if all := mustSnapshots(t, r); len(all) != want {
			t.Errorf("%s: %d snapshots", what, len(all))
		}
		mustVerify(t, r)
		r.Close()
	}
}

// From a copy of the repository all comes back, whatever was lost.
func TestRepairFromCopy(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	all := map[string][]byte{}
	for i, name := range v.of("packs") {
		all[name] = [][]byte{nil, v.objects[name][:100], flipped(v.objects[name], 70, 1)}[i%3]
	}
	all["snapshots/"+v.snapshots[0].ID] = nil
	all["snapshots/"+v.snapshots[1].ID] = flipped(v.objects["snapshots/"+v.snapshots[1].ID], 60, 2)
	for what, changes := range map[string]map[string][]byte{
		"everything damaged": all,
		"one manifest gone":  {"snapshots/" + v.snapshots[0].ID: nil},
	} {
		for _, repaired := range []bool{false, true} {
			if repaired && what == "everything damaged" {
				delete(changes, "snapshots/"+v.snapshots[1].ID) // else its mark says that it is no more
			}
			t.Run(fmt.Sprintf("%s, repaired before %t", what, repaired), func(t *testing.T) {
				st := v.with(t, changes)
				if repaired {
					mustRepair(t, st, repo.RepairOptions{})
				}
				from := reopen(t, v.with(t, nil))
				defer from.Close()
				result := mustRepair(t, st, repo.RepairOptions{From: from})
				if !result.Whole() {
					t.Errorf("lost is %v, found is %v", lossesOf(result), result.After)
				}
				r := reopen(t, st)
				defer r.Close()
				mustVerify(t, r)
				for i, s := range mustSnapshots(t, r) {
					[]backup{v.first, v.second}[i].mustRead(t, r, s)
				}
			})
		}
	}
}

// Another repository, with other keys, that has the same sources heals what it
// has the same content of, and nothing else.
func TestRepairFromAnotherRepository(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	donors := map[string][]backup{
		"the same":         {v.first, v.second},
		"a later state":    {v.second},
		"other bytes":      {newBackup("vm/a", 500)},
		"another source":   {newBackup("vm/b", 10)},
		"other, then same": {newBackup("vm/a", 500), v.first, v.second, newBackup("vm/a", 700)},
	}
	for what, backups := range donors {
		for _, kind := range []byte{1, 2} {
			t.Run(fmt.Sprintf("%s, kind %d", what, kind), func(t *testing.T) {
				t.Parallel()
				other := memStore(t, store.NewMem())
				initRepo(t, other)
				from := reopen(t, other)
				defer from.Close()
				for _, b := range backups {
					mustIngest(t, from, b)
				}
				changes := map[string][]byte{}
				for _, name := range v.packsOf(kind) {
					changes[name] = flipped(v.objects[name], 70, 1)
					if kind == 2 {
						changes[name] = nil
					}
				}
				st := v.with(t, changes)
				result := mustRepair(t, st, repo.RepairOptions{From: from})
				v.checkLosses(t, st, result)
				// The later state has all data of the earlier one, but not all of its maps.
				whole := strings.Contains(what, "same") || what == "a later state" && kind == 1
				if whole != result.Whole() || strings.Contains(what, "state") && result.Healed == 0 {
					t.Errorf("%d healed, lost is %v, found is %v", result.Healed, lossesOf(result), result.After)
				}
				if what == "another source" && result.Healed > 0 {
					t.Errorf("%d chunks were healed from another source", result.Healed)
				}
			})
		}
	}
}

// While a repair goes on, no other begins, and no index is made anew; a session
// that is open goes on, and its snapshot is whole.
func TestRepairBesideOthers(t *testing.T) {
	v := newVictim(t, "vm/a", 10)
	name := v.packsOf(1)[0]
	st := v.with(t, map[string][]byte{name: flipped(v.objects[name], len(v.objects[name])/2, 1)})
	w := reopen(t, st)
	defer w.Close()
	s, err := w.NewSession(t.Context(), repo.SessionOptions{Source: "vm/b", Kind: "vm", Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	root, err := v.first.disk.store(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	result := mustRepair(t, st, repo.RepairOptions{Progress: func(string, int64, int64) {
		r := reopen(t, st)
		defer r.Close()
		sessions, err := r.Sessions(t.Context())
		if err != nil || !slices.ContainsFunc(sessions, func(s repo.SessionInfo) bool { return s.Kind == "gc" && s.Purpose == "repair" }) {
			return
		}
		if _, err := r.Repair(t.Context(), repo.RepairOptions{Known: true}); !errors.Is(err, repo.ErrInUse) {
			t.Errorf("a second repair: %v", err)
		}
		if err := r.RebuildIndex(t.Context()); !errors.Is(err, repo.ErrInUse) {
			t.Errorf("an index made anew beside a repair: %v", err)
		}
	}})
	if len(result.SetAside) != 1 {
		t.Errorf("set aside %v", result.SetAside)
	}
	v.checkLosses(t, st, result)
	if _, err := v.first.commit(t.Context(), s, root); err == nil {
		// It found everything; so must a reader.
		if o := v.examine(t, st); o.openErr != nil {
			t.Error(o.openErr)
		}
	} else if !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("the session: %v", err)
	}
}
