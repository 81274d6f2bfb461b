package repo_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

func ingestTagged(t *testing.T, r *repo.Repo, source string, tags ...string) *repo.Snapshot {
	t.Helper()
	return ingestWith(t, r, repo.SessionOptions{Source: source, Kind: "vm", Tags: tags, Verify: true})
}

func ingestAt(t *testing.T, r *repo.Repo, source string, when time.Time) *repo.Snapshot {
	t.Helper()
	return ingestWith(t, r, repo.SessionOptions{Source: source, Kind: "vm", Time: when, Verify: true})
}

func ingestWith(t *testing.T, r *repo.Repo, o repo.SessionOptions) *repo.Snapshot {
	t.Helper()
	s, err := r.NewSession(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(context.Background())
	root, size, err := s.PutStream(t.Context(), strings.NewReader(strings.Repeat("content of "+s.ID(), 1000)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddItem(repo.Item{Name: "f", Kind: repo.ItemFile, Size: size, Root: root}); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), repo.Info{Program: "test", Method: "backup"})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// ids are the IDs of all listed snapshots, sorted by time.
func ids(t *testing.T, r *repo.Repo) (list []string) {
	t.Helper()
	for _, s := range mustSnapshots(t, r) {
		list = append(list, s.ID)
	}
	return list
}

func TestForgottenSnapshotsAreHidden(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	a, b, c := ingestTagged(t, r, "vm/a"), ingestTagged(t, r, "vm/a", "gold"), ingestTagged(t, r, "vm/b")
	if !slices.Equal(b.Tags, []string{"gold"}) || len(a.Tags) > 0 {
		t.Errorf("tags %q and %q", a.Tags, b.Tags)
	}
	other := open(t, st) // has the manifests in memory
	if got := ids(t, other); len(got) != 3 {
		t.Fatalf("snapshots %v", got)
	}
	for range 2 { // of one that is forgotten already, too
		if err := r.Forget(t.Context(), repo.ForgotByName, b); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*repo.Repo{r, other} {
		if got := ids(t, r); !slices.Equal(got, []string{a.ID, c.ID}) {
			t.Errorf("snapshots %v, want %s and %s", got, a.ID, c.ID)
		}
		if got, err := r.Resolve(t.Context(), "vm/a"); err != nil || got.ID != a.ID {
			t.Errorf("the latest is %+v (%v)", got, err)
		}
		if _, err := r.Resolve(t.Context(), b.ID[:10]); !errors.Is(err, repo.ErrNotFound) || !strings.Contains(err.Error(), "was forgotten") {
			t.Errorf("a forgotten snapshot by name: %v", err)
		}
	}
	// The next goes on above the forgotten one, and comes after the one before.
	next := ingestTagged(t, r, "vm/a")
	if next.Seq != 3 || next.Previous != a.ID {
		t.Errorf("the next snapshot has number %d and comes after %s", next.Seq, next.Previous)
	}
	if n := damageFound(t, r); n > 0 {
		t.Errorf("verify found %d objects damaged", n)
	}
	// A source that is forgotten as a whole.
	if err := r.Forget(t.Context(), repo.ForgotByPolicy, c); err != nil {
		t.Fatal(err)
	}
	if again := ingestTagged(t, r, "vm/b"); again.Seq != 2 || again.Previous != "" {
		t.Errorf("after all were forgotten: number %d after %q", again.Seq, again.Previous)
	}
}

func damageFound(t *testing.T, r *repo.Repo) int {
	t.Helper()
	result, err := r.Verify(t.Context(), repo.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Findings {
		t.Logf("%s: %v", f.Object, f.Err)
	}
	return len(result.Findings)
}

// A gap in the row of a source's snapshots that has a mark is none.
func TestMarkExplainsGap(t *testing.T) {
	st := newStore(t)
	initRepo(t, st)
	r := reopen(t, st)
	first := ingestTagged(t, r, "vm/a")
	ingestTagged(t, r, "vm/a")
	if err := r.Forget(t.Context(), repo.ForgotByName, first); err != nil {
		t.Fatal(err)
	}
	if err := st.Delete(t.Context(), "snapshots/"+first.ID); err != nil {
		t.Fatal(err)
	}
	if n := damageFound(t, reopen(t, st)); n > 0 {
		t.Errorf("%d findings with the mark", n)
	}
	if err := st.Delete(t.Context(), "forgotten/"+first.ID); err != nil {
		t.Fatal(err)
	}
	if n := damageFound(t, reopen(t, st)); n != 1 {
		t.Errorf("%d findings without the mark, want one", n)
	}
	if err := r.Forget(t.Context(), repo.ForgotByName, first); err != nil {
		t.Errorf("forgetting one that is gone: %v", err)
	}
	if names := objects(t, st); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "forgotten/") }) {
		t.Errorf("a mark was made of a snapshot that is gone: %q", names)
	}
}

// A mark that cannot be read hides the snapshot, and verify says it.
func TestUnreadableMarkHides(t *testing.T) {
	for what, content := range map[string][]byte{"garbage": []byte("garbage"), "empty": nil, "long": bytes.Repeat([]byte{1}, 1<<17)} {
		st := newStore(t)
		initRepo(t, st)
		r := reopen(t, st)
		s := ingestTagged(t, r, "vm/a")
		if err := st.Put(t.Context(), "forgotten/"+s.ID, content); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, r); len(got) > 0 {
			t.Errorf("%s: snapshots %v", what, got)
		}
		if n := damageFound(t, r); n != 1 {
			t.Errorf("%s: %d findings, want one", what, n)
		}
	}
}

// Of a manifest that is forgotten nobody needs to know that it is damaged.
func TestForgottenDamageIsHidden(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	first := ingestTagged(t, r, "vm/a")
	ingestTagged(t, r, "vm/b")
	if err := r.Forget(t.Context(), repo.ForgotByName, first); err != nil {
		t.Fatal(err)
	}
	if err := st.Delete(t.Context(), "snapshots/"+first.ID); err != nil {
		t.Fatal(err)
	}
	if err := st.Put(t.Context(), "snapshots/"+first.ID, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	r = open(t, st)
	mustSnapshots(t, r)
	if next := ingestTagged(t, r, "vm/a"); next.Seq != 2 {
		t.Errorf("number %d, want 2: the unreadable one may have had 1", next.Seq)
	}
}

// Where there is no room for a mark, the error says so, and what was marked
// before stays marked.
func TestForgetOnFullDisk(t *testing.T) {
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	s := ingestTagged(t, r, "vm/a")
	marked := 0
	for step := 1; ; step++ {
		m.FailOp(m.Ops()+step, unix.ENOSPC)
		err := r.Forget(t.Context(), repo.ForgotByName, s)
		gone := len(ids(t, r)) == 0
		if err == nil && !gone {
			t.Fatalf("step %d: it is said to be forgotten, and is not", step)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, repo.ErrNoSpace) || !strings.Contains(err.Error(), s.Short()+" of vm/a") || !strings.Contains(err.Error(), "make that room") {
			t.Errorf("step %d: %v", step, err)
		}
		marked++
	}
	if marked < 2 {
		t.Errorf("the disk was full at %d steps", marked)
	}
}

func TestPolicyIsKept(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	get := func(set bool) []repo.PolicyRule {
		t.Helper()
		rules, was, err := open(t, st).Policy(t.Context())
		if err != nil || was != set {
			t.Fatalf("set: %v, want %v (%v)", was, set, err)
		}
		return rules
	}
	if vm := repo.RuleFor(get(false), "vm", "vm/a"); vm.Monthly != 6 || vm.Last != 5 {
		t.Errorf("default of a VM: %+v", vm)
	}
	for last := range uint64(5) {
		if err := r.SetPolicy(t.Context(), []repo.PolicyRule{{For: "tree/etc", Last: 7}, {For: "", Last: last + 1}}); err != nil {
			t.Fatal(err)
		}
		rules := get(true)
		if got := repo.RuleFor(rules, "vm", "vm/a"); got.Last != last+1 {
			t.Errorf("for all: %+v", got)
		}
		if got := repo.RuleFor(rules, "tree", "tree/etc"); got.Last != 7 {
			t.Errorf("for a source: %+v", got)
		}
	}
	if names := slices.DeleteFunc(objects(t, st), func(n string) bool { return !strings.HasPrefix(n, "policy/") }); len(names) != 2 {
		t.Errorf("policies %q, want two", names)
	}
	for _, bad := range [][]repo.PolicyRule{
		{{For: "vm", Last: 1}}, {{For: ""}}, {{For: "", Last: 1}, {For: "", Last: 2}}, {{For: "", Within: -1}},
		{{For: "", Last: 1, Tags: []string{"b", "a"}}}, {{For: "", Last: 1}, {For: "vm", MaxAge: 5}},
	} {
		if err := r.SetPolicy(t.Context(), bad); err == nil {
			t.Errorf("%+v was set", bad)
		}
	}
	if err := r.SetPolicy(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := get(false); len(got) != len(repo.DefaultPolicy()) {
		t.Errorf("the default: %+v", got)
	}
	// A policy that cannot be read is not the default, and can be set anew.
	if err := st.Put(t.Context(), "policy/00000000000000000007", []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Policy(t.Context()); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("an unreadable policy: %v", err)
	}
	if err := r.SetPolicy(t.Context(), repo.DefaultPolicy()); err != nil {
		t.Fatal(err)
	}
	get(true)
}

// Tags that cannot be stored are refused before anything is read.
func TestBadTagsAreRefusedAtOnce(t *testing.T) {
	r := newRepo(t, newStore(t))
	many := []string{}
	for i := range repo.MaxTags + 1 {
		many = append(many, strings.Repeat("x", i+1))
	}
	for _, tags := range [][]string{{""}, {" a"}, {"a\n"}, {"\xff"}, {strings.Repeat("a", 129)}, many} {
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Kind: "vm", Tags: tags})
		if err == nil {
			t.Errorf("%q was taken", tags)
			s.Abort(t.Context())
		}
	}
	if s := ingestTagged(t, r, "vm/a", "b", "a", "b"); !slices.Equal(s.Tags, []string{"a", "b"}) {
		t.Errorf("tags %q", s.Tags)
	}
}
