package repo_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

// mark reads the mark of a forgotten snapshot.
func (s *spec) mark(name string) map[uint64]any {
	m := s.cbor(s.sealed("vfsmark", name, s.objects[name], "vaultfs mark", nil))
	s.must(len(m) == 5 && name == fmt.Sprintf("forgotten/%x", m[1]), "mark %v under the name %s", m, name)
	s.seen[name] = true
	return m
}

// policy reads a policy.
func (s *spec) policy(name string) []any {
	p := s.cbor(s.sealed("vfsplcy", name, s.objects[name], "vaultfs policy", nil))
	s.must(len(p) == 2 && name == fmt.Sprintf("policy/%020d", p[1]), "policy %v under the name %s", p, name)
	s.seen[name] = true
	return p[2].([]any)
}

// ledger reads a part of the ledger: times of packs and of snapshots.
func (s *spec) ledger(name string) (packs, snapshots map[string]int64) {
	b := s.sealed("vfsldgr", name, s.objects[name], "vaultfs ledger", nil)
	table := func(width int) map[string]int64 {
		times, before := map[string]int64{}, []byte(nil)
		n := be32(b)
		for b = b[4:]; n > 0; n-- {
			s.must(bytes.Compare(before, b[:width]) < 0, "%s is not sorted", name)
			before = b[:width]
			times[fmt.Sprintf("%x", before)] = int64(binary.BigEndian.Uint64(b[width:]))
			b = b[width+8:]
		}
		return times
	}
	packs, snapshots = table(32), table(16)
	s.must(len(b) == 0, "%s: %d bytes follow", name, len(b))
	s.seen[name] = true
	return packs, snapshots
}

func TestFormatPageIsTrueOfForgetting(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	begin := time.Now().Unix()
	first := ingestTagged(t, r, "vm/a", "gold", "before the update")
	second := ingestTagged(t, r, "vm/a", "gold", "before the update")
	if err := r.Forget(t.Context(), repo.ForgotByName, first); err != nil {
		t.Fatal(err)
	}
	rule := repo.PolicyRule{For: "vm/a", Last: 1, Hourly: 2, Daily: 3, Weekly: 4, Monthly: 5, Yearly: 6, Within: 7, Tags: []string{"gold"}, MaxAge: 8, MaxUnread: 9}
	if err := r.SetPolicy(t.Context(), append(repo.DefaultPolicy(), rule)); err != nil {
		t.Fatal(err)
	}
	for _, name := range objects(t, st) {
		if strings.HasPrefix(name, "packs/") {
			if err := r.RecordRead(t.Context(), name[39:]); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := readSpec(t, st)
	s.tags = []string{"before the update", "gold"}
	s.manifest("snapshots/"+first.ID, s.objects["snapshots/"+first.ID])
	s.manifest("snapshots/"+second.ID, s.objects["snapshots/"+second.ID])
	mark := s.mark("forgotten/" + first.ID)
	if at := int64(mark[3].(uint64)); mark[2] != "vm/a" || at < begin || at > begin+100 || mark[4] == "" || mark[5] != "by name" {
		t.Errorf("mark %v", mark)
	}
	rules := s.policy("policy/00000000000000000001")
	want := map[any]any{uint64(1): "vm/a", uint64(9): []any{"gold"}}
	for key, v := range []uint64{2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 10: 8, 11: 9} {
		if v > 0 {
			want[uint64(key)] = v
		}
	}
	if got := rules[2].(map[any]any); fmt.Sprint(got) != fmt.Sprint(want) || rules[0].(map[any]any)[uint64(1)] != "" {
		t.Errorf("rules %v, want %v", got, want)
	}
	packs := map[string]int64{}
	for name := range s.objects {
		if strings.HasPrefix(name, "ledger/") {
			read, proved := s.ledger(name)
			maps.Copy(packs, read)
			s.must(len(proved) == 0, "%s tells of snapshots %v", name, proved)
		}
	}
	for name := range s.objects {
		if strings.HasPrefix(name, "packs/") && packs[name[39:]] < begin {
			t.Errorf("%s was read at %d", name, packs[name[39:]])
		}
	}
	s.index()
	s.packs()
	for name := range s.objects {
		if !s.seen[name] {
			t.Errorf("FORMAT.md does not say what %s is for", name)
		}
	}
}
