package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// The kinds of item.
const (
	ItemDisk = format.ItemDisk
	ItemFile = format.ItemFile
	ItemTree = format.ItemTree
)

// A Summary counts what an ingest did, and an Origin tells where an item came
// from.
type (
	Summary = format.Summary
	Origin  = format.ItemOrigin
)

// An Item is a disk, a file or a tree of a snapshot.
type Item struct {
	Name string
	Kind string // ItemDisk, ItemFile or ItemTree
	Size int64  // bytes
	Root chunk.ID
	Origin
	// Checkpoint names what the next backup of a disk can start from, such as a
	// dirty bitmap; "" if there is nothing.
	Checkpoint string
}

// Info is what a snapshot tells about how it came to be.
type Info struct {
	Host     string // where the ingest ran
	Machine  string // what the source is: a domain's UUID
	Program  string // and version
	Mode     string // how the source was read: "live", "offline", "file"
	Method   string // by what means: "backup", "snapshot"; "" where that has no meaning
	Quiesced string // whether and how the guest was frozen; "" where that has no meaning
	Verified string // what was read back before the commit; Commit says it
	Notes    []string
	Summary  Summary
}

// A Snapshot is one committed backup of a source.
type Snapshot struct {
	ID       string // 32 hex digits
	Source   string // "vm/win11"
	Kind     string // "vm", "disk"
	Seq      uint64 // of the source, from 1
	Previous string // ID of the source's snapshot before, or ""
	Time     time.Time
	Tags     []string // a person's words for it, sorted
	Items    []Item
	Info     Info
}

// CheckTag says what is wrong with a tag: it is 1 to 128 bytes of text that
// neither begin nor end with a space.
func CheckTag(tag string) error { return format.CheckTag(tag) }

// MaxTags is how many tags a snapshot may have.
const MaxTags = format.MaxTags

// Short is the first digits of the ID, enough for a person.
func (s *Snapshot) Short() string { return s.ID[:8] }

// Size is the sum of the items' sizes, in bytes.
func (s *Snapshot) Size() (n int64) {
	for _, it := range s.Items {
		n += it.Size
	}
	return n
}

// Item returns the item of that name, or nil.
func (s *Snapshot) Item(name string) *Item {
	for i := range s.Items {
		if s.Items[i].Name == name {
			return &s.Items[i]
		}
	}
	return nil
}

func snapshotObject(id format.SnapshotID) string { return "snapshots/" + id.String() }

// forgottenObject is the mark of a snapshot that is to be removed.
func forgottenObject(id format.SnapshotID) string { return "forgotten/" + id.String() }

func newSnapshot(m *format.Manifest) *Snapshot {
	st, pr := m.Structure, m.Private
	s := &Snapshot{ID: st.Session.String(), Source: st.Source, Kind: st.Kind, Seq: st.Seq, Time: time.Unix(0, st.Time).UTC(), Tags: st.Tags}
	if !st.Previous.IsZero() {
		s.Previous = st.Previous.String()
	}
	for i, it := range st.Items {
		s.Items = append(s.Items, Item{it.Name, it.Kind, it.Size, it.Root, pr.Origins[i], it.Checkpoint})
	}
	s.Info = Info{pr.Host, st.Machine, pr.Program, pr.Mode, pr.Method, pr.Quiesced, pr.Verified, pr.Notes, pr.Summary}
	return s
}

// Snapshots returns all committed snapshots but the forgotten ones, oldest
// first. What cannot be read is told in the error, which may come beside the
// others.
func (r *Repo) Snapshots(ctx context.Context) ([]*Snapshot, error) {
	c, err := r.takeCensus(ctx)
	if err != nil {
		return nil, err
	}
	return c.kept, errors.Join(c.errs...)
}

// A census is what there is of snapshots at one moment.
type census struct {
	kept, forgotten []*Snapshot // oldest first; forgotten: marked, but not collected yet
	errs            []error     // why others cannot be read
	hidden          int         // forgotten ones that cannot be read, which are no error
}

// takeCensus reads all manifests. The marks come first: who removes a forgotten
// snapshot removes its manifest before its mark, so that one which was forgotten
// before the census began is never seen as kept.
func (r *Repo) takeCensus(ctx context.Context) (*census, error) {
	marks, err := r.marks(ctx)
	if err != nil {
		return nil, err
	}
	ids, err := r.listIDs(ctx, "snapshots/")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ids, func(a, b format.SnapshotID) int { return bytes.Compare(a[:], b[:]) })
	c := new(census)
	for _, id := range ids {
		m, err := r.manifest(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound): // collected meanwhile
		case err != nil && marks[id] && !errors.Is(err, ErrNewerFormat):
			c.hidden++
		case err != nil:
			c.errs = append(c.errs, err)
		case marks[id]:
			c.forgotten = append(c.forgotten, newSnapshot(m))
		default:
			c.kept = append(c.kept, newSnapshot(m))
		}
	}
	sortByTime(c.kept)
	sortByTime(c.forgotten)
	return c, nil
}

// listIDs lists the snapshots whose IDs stand behind a prefix that ends in "/".
func (r *Repo) listIDs(ctx context.Context, prefix string) (ids []format.SnapshotID, err error) {
	err = r.store.List(ctx, strings.TrimSuffix(prefix, "/"), func(i store.Info) error {
		if id, err := format.ParseSnapshotID(strings.TrimPrefix(i.Name, prefix)); err == nil {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

func sortByTime(list []*Snapshot) {
	slices.SortStableFunc(list, func(a, b *Snapshot) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Seq, b.Seq), strings.Compare(a.ID, b.ID))
	})
}

// refusal is why no session may begin: a newer version was here, or nothing of
// what there is can be read.
func (c *census) refusal() error {
	all := errors.Join(c.errs...)
	if newer := firstNewer(all); newer != nil {
		return newer
	}
	if len(c.kept)+len(c.forgotten) == 0 {
		return all
	}
	return nil
}

// nextSeq is the number of the next snapshot of a source: above those of all
// that exist, forgotten or not. Manifests that cannot be read may be of the
// source: their numbers are left free.
func (c *census) nextSeq(source string) uint64 {
	seq := uint64(1)
	for _, list := range [][]*Snapshot{c.kept, c.forgotten} {
		if newest := latest(list, source); newest != nil {
			seq = max(seq, newest.Seq+1)
		}
	}
	return seq + uint64(len(c.errs)+c.hidden)
}

// manifest reads a manifest; one that was read before comes from memory.
func (r *Repo) manifest(ctx context.Context, id format.SnapshotID) (*format.Manifest, error) {
	r.mu.Lock()
	m := r.manifests[id]
	r.mu.Unlock()
	if m != nil {
		return m, nil
	}
	m, err := r.readManifest(ctx, id)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.manifests[id] = m
	r.mu.Unlock()
	return m, nil
}

// readManifest reads a manifest from the store. One that is gone is
// store.ErrNotFound.
func (r *Repo) readManifest(ctx context.Context, id format.SnapshotID) (m *format.Manifest, err error) {
	b, err := r.store.Get(ctx, snapshotObject(id), format.MaxManifestSize)
	if errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		m, err = r.decodeManifest(id, b)
	}
	if err != nil {
		return nil, damage("snapshot "+id.String(), err)
	}
	return m, nil
}

func (r *Repo) decodeManifest(id format.SnapshotID, b []byte) (*format.Manifest, error) {
	return format.DecodeManifest(id, r.manifestKey(id), func(sealed []byte) (format.KeyFunc, error) {
		secret, err := r.sessionSecret(id, sealed)
		return r.manifestBodyKey(id, secret), err
	}, b)
}

// latest returns the newest of the snapshots of a source, or nil. The sequence
// number decides, not the clock.
func latest(all []*Snapshot, source string) (found *Snapshot) {
	for _, s := range all {
		if s.Source == source && (found == nil || s.Seq >= found.Seq) {
			found = s
		}
	}
	return found
}

// Resolve finds the snapshot that a person means: the beginning of an ID, or
// SOURCE or SOURCE@latest, or SOURCE@DATE or SOURCE@TIME, which is the newest
// snapshot at or before the end of that day, second or time zone's instant.
func (r *Repo) Resolve(ctx context.Context, ref string) (*Snapshot, error) {
	c, err := r.takeCensus(ctx)
	if err != nil {
		return nil, err
	}
	if err = errors.Join(c.errs...); err != nil && len(c.kept) == 0 {
		return nil, err
	}
	found, missing := resolve(c.kept, ref)
	if missing != nil {
		missing = c.explain(ref, missing)
	}
	if missing != nil && err != nil {
		return nil, errors.Join(missing, err) // it may be the one that cannot be read
	}
	if missing == nil && err != nil && !strings.HasPrefix(found.ID, strings.ToLower(ref)) {
		r.warn(fmt.Sprintf("%v: it may be a newer one of %s than %s of %s, which is taken", err, found.Source, found.Short(),
			found.Time.Local().Format(time.DateTime)))
	}
	return found, missing
}

// explain says of a snapshot that is not found that it was forgotten, if it was.
func (c *census) explain(ref string, missing error) error {
	s, err := resolveExact(c.forgotten, ref)
	if err != nil {
		return missing
	}
	return fmt.Errorf("snapshot %s: %w: it was forgotten (%s of %s, of %s), and the next `vaultfs gc` removes what only it needs",
		ref, ErrNotFound, s.Short(), s.Source, s.Time.Local().Format(time.DateTime))
}

func resolve(all []*Snapshot, ref string) (*Snapshot, error) {
	if s := latest(all, ref); s != nil { // the name of a source may hold an @
		return s, nil
	}
	source, at, dated := cutLast(ref, "@")
	if !dated {
		return byPrefix(all, ref)
	}
	var mine []*Snapshot
	for _, s := range all {
		if s.Source == source {
			mine = append(mine, s)
		}
	}
	if len(mine) == 0 {
		return nil, fmt.Errorf("snapshot %s: %w: there is none of the source %s%s", ref, ErrNotFound, source, known(all))
	}
	if at == "latest" {
		return latest(mine, source), nil
	}
	_, end, err := parseTime(at)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", ref, err)
	}
	var found *Snapshot
	for _, s := range mine {
		if !s.Time.After(end) && (found == nil || s.Seq > found.Seq) {
			found = s
		}
	}
	if found == nil {
		return nil, fmt.Errorf("snapshot %s: %w: the oldest of %s is of %s", ref, ErrNotFound, source,
			mine[0].Time.Local().Format(time.DateTime))
	}
	return found, nil
}

// ResolveExact finds the snapshot that a person means, for what cannot be undone.
// It is as Resolve, but SOURCE@DATE and SOURCE@TIME mean one of that day, minute or
// second and none before it, and it is ErrAmbiguous if there are several.
func (r *Repo) ResolveExact(ctx context.Context, ref string) (*Snapshot, error) {
	c, err := r.takeCensus(ctx)
	if err != nil {
		return nil, err
	}
	found, missing := resolveExact(c.kept, ref)
	if missing != nil {
		return nil, errors.Join(c.explain(ref, missing), errors.Join(c.errs...))
	}
	return found, nil
}

func resolveExact(all []*Snapshot, ref string) (*Snapshot, error) {
	found, err := resolve(all, ref)
	if err != nil || found.Source == ref || strings.HasPrefix(found.ID, strings.ToLower(ref)) {
		return found, err
	}
	source, at, _ := cutLast(ref, "@")
	if at == "latest" {
		return found, nil
	}
	begin, end, err := parseTime(at)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", ref, err)
	}
	var ids []string
	for _, s := range all {
		if s.Source == source && !s.Time.Before(begin) && !s.Time.After(end) {
			found = s
			ids = append(ids, s.Short())
		}
	}
	switch {
	case len(ids) == 0:
		return nil, fmt.Errorf("snapshot %s: %w: there is none of that time; the newest before it is %s, of %s", ref, ErrNotFound,
			found.Short(), found.Time.Local().Format(time.DateTime))
	case len(ids) > 1:
		return nil, fmt.Errorf("snapshot %s: %w: there are %d of that time: %s", ref, ErrAmbiguous, len(ids), strings.Join(ids, ", "))
	}
	return found, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func byPrefix(all []*Snapshot, prefix string) (*Snapshot, error) {
	var found []*Snapshot
	for _, s := range all {
		if prefix != "" && strings.HasPrefix(s.ID, strings.ToLower(prefix)) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("snapshot %q: %w%s", prefix, ErrNotFound, known(all))
	}
	return nil, fmt.Errorf("snapshot %q: %w: %d snapshots begin so", prefix, ErrAmbiguous, len(found))
}

// known lists the sources for someone who mistyped one.
func known(all []*Snapshot) string {
	var sources []string
	for _, s := range all {
		sources = append(sources, s.Source)
	}
	slices.Sort(sources)
	sources = slices.Compact(sources)
	switch {
	case len(sources) == 0:
		return " (the repository holds no snapshot)"
	case len(sources) > 12:
		sources = append(sources[:12], "…")
	}
	return " (sources: " + strings.Join(sources, ", ") + ")"
}

// parseTime reads a date or a time and returns the first and the last instant it
// means. Without a zone it is in local time; the form of the mount's directory
// names is in UTC, as those are.
func parseTime(s string) (begin, end time.Time, err error) {
	for _, f := range []struct {
		layout string
		width  time.Duration
		zone   *time.Location
	}{
		{"2006-01-02T15-04-05Z", time.Second, time.UTC},
		{time.RFC3339Nano, time.Second, time.Local},
		{"2006-01-02T15:04:05", time.Second, time.Local},
		{time.DateTime, time.Second, time.Local},
		{"2006-01-02T15:04", time.Minute, time.Local},
		{"2006-01-02 15:04", time.Minute, time.Local},
	} {
		if t, err := time.ParseInLocation(f.layout, s, f.zone); err == nil {
			return t, t.Add(f.width - 1), nil
		}
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return startOfDay(t), startOfDay(t.AddDate(0, 0, 1)).Add(-1), nil
	}
	return begin, end, fmt.Errorf("%q is no time: write latest, 2026-11-21 or 2026-11-21T18:00:00", s)
}

// startOfDay is the first local instant of the day of a date. Where clocks are
// changed at midnight that is not always 0:00, or the first of two.
func startOfDay(date time.Time) time.Time {
	y, m, d := date.Date()
	t := time.Date(y, m, d, 0, 0, 0, 0, time.Local)
	start, end := t.ZoneBounds()
	if t.Day() != d { // there is no 0:00, and this is as long before the change as the day lacks
		return end
	}
	if start.IsZero() {
		return t
	}
	_, before := start.Add(-1).Zone()
	_, after := t.Zone()
	if first := t.Add(time.Duration(after-before) * time.Second); after < before && first.Before(start) {
		return first
	}
	return t
}
