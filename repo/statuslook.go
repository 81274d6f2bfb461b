package repo

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// A look is the making of a Status.
type look struct {
	repo   *Repo
	status *Status
	now    time.Time

	ledger *Ledger
	rules  []PolicyRule
	all    []*Snapshot

	living map[string]bool // sessions that were alive at any time of the look
	listed *index.Packs
	there  []int64     // sizes of those packs, -1 of one that is not there
	since  []time.Time // when they were written
}

// sessions lists who is at work. It is done before and after the packs are
// listed: what somebody is writing at this moment is not left over.
func (l *look) sessions(ctx context.Context) (err error) {
	if l.status.Sessions, err = l.repo.Sessions(ctx); err != nil {
		return err
	}
	if l.living == nil {
		l.living = map[string]bool{}
	}
	for _, s := range l.status.Sessions {
		l.living[s.ID] = l.living[s.ID] || s.Alive
	}
	return nil
}

// problem notes damage and what a newer version wrote; any other error it returns.
func (l *look) problem(err error) error {
	for _, err := range split(err) {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerFormat) {
			return err
		}
		l.status.Problems = append(l.status.Problems, err)
	}
	return nil
}

// sources looks at the snapshots.
func (l *look) sources(ctx context.Context) (err error) {
	if l.ledger, err = l.repo.Ledger(ctx); err != nil {
		if err := l.problem(err); err != nil {
			return err
		}
	}
	if l.rules, _, err = l.repo.Policy(ctx); err != nil {
		if err := l.problem(err); err != nil {
			return err
		}
		l.rules = DefaultPolicy()
	}
	if l.all, err = l.repo.Snapshots(ctx); err != nil {
		if err := l.problem(err); err != nil {
			return err
		}
	}
	bySource := map[string][]*Snapshot{}
	for _, s := range l.all {
		bySource[s.Source] = append(bySource[s.Source], s)
		l.status.Snapshots++
		l.status.Logical += s.Size()
	}
	for _, mine := range bySource {
		l.status.Sources = append(l.status.Sources, l.source(mine))
	}
	slices.SortFunc(l.status.Sources, func(a, b SourceStatus) int { return strings.Compare(a.Source, b.Source) })
	return nil
}

// source looks at the snapshots of one source.
func (l *look) source(mine []*Snapshot) SourceStatus {
	slices.SortFunc(mine, func(a, b *Snapshot) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), strings.Compare(a.ID, b.ID)) })
	newest := mine[len(mine)-1]
	s := SourceStatus{Source: newest.Source, Kind: newest.Kind, Newest: newest, Snapshots: len(mine), Size: newest.Size()}
	var times []time.Time // that can be right
	for _, one := range mine {
		s.Stored += one.Info.Summary.BytesStored
		if !l.ledger.Damaged(one).IsZero() {
			s.Lost = append(s.Lost, one)
		}
		if one.Time.After(l.now.Add(ledgerTolerance * time.Second)) {
			s.Future = append(s.Future, one)
			continue
		}
		times = append(times, one.Time)
	}
	rule := RuleFor(l.rules, s.Kind, s.Source)
	s.MaxAge = time.Duration(rule.MaxAge) * time.Second
	s.MaxUnread = time.Duration(cmp.Or(rule.MaxUnread, RuleFor(l.rules, "", "").MaxUnread)) * time.Second
	s.Verified, s.ReadWhole = l.ledger.Verified(newest), l.ledger.ReadWhole(newest)
	s.Unread = s.MaxUnread > 0 && l.now.Sub(s.Verified) > s.MaxUnread
	s.Usual = usual(times)
	if len(times) > 0 {
		s.Age = max(0, l.now.Sub(slices.MaxFunc(times, time.Time.Compare)))
		s.Late = late(s.Age, s.MaxAge, s.Usual)
	}
	return s
}

// How a source's own rhythm is told: by the median of its last intervals, of
// which there must be some.
const (
	rhythmIntervals = 10
	rhythmFewest    = 2
)

// alwaysInTime is the age up to which a snapshot is not late, whatever the
// rhythm: what is backed up every hour while somebody works rests at night.
const alwaysInTime = 36 * time.Hour

// usual is the median of the last intervals between times, by the order of
// their sequence numbers; 0 if there are too few.
func usual(times []time.Time) time.Duration {
	times = slices.Clone(times[max(0, len(times)-rhythmIntervals-1):])
	slices.SortFunc(times, time.Time.Compare)
	var intervals []time.Duration
	for i := 1; i < len(times); i++ {
		intervals = append(intervals, times[i].Sub(times[i-1]))
	}
	if len(intervals) < rhythmFewest {
		return 0
	}
	slices.Sort(intervals)
	return intervals[len(intervals)/2]
}

// late tells whether a newest snapshot of that age is older than it should be.
func late(age, maxAge, usual time.Duration) bool {
	if maxAge > 0 {
		return age > maxAge
	}
	return usual > 0 && age > 2*usual && age > alwaysInTime
}

// packs lists the packs of the index.
func (l *look) packs(ctx context.Context) error {
	if err := l.repo.refresh(ctx); err != nil {
		return err
	}
	listed, err := l.repo.index.Packs()
	if err != nil { // the local copy is damaged: that is mended by looking again
		if err = l.repo.refresh(ctx); err == nil {
			listed, err = l.repo.index.Packs()
		}
	}
	if err != nil {
		return err
	}
	l.listed = listed
	l.there, l.since = make([]int64, len(listed.List)), make([]time.Time, len(listed.List))
	for i := range l.there {
		l.there[i] = -1
	}
	if l.repo.indexLost() {
		l.status.Problems = append(l.status.Problems, &DamageError{"index", errors.New("it cannot be used; `vaultfs repair index` makes a new one")})
	}
	return nil
}

// indexLost tells whether the index was made from pack footers, because the one
// in the repository is of no use.
func (r *Repo) indexLost() bool {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	return r.rebuilt
}

// files goes through all files once.
func (l *look) files(ctx context.Context) error {
	st := l.status
	err := l.repo.store.List(ctx, "", func(o store.Info) error {
		st.Total += o.Size
		switch {
		case strings.HasPrefix(o.Name, "packs/"):
			l.pack(o)
		case strings.HasPrefix(o.Name, "quarantine/"):
			st.Quarantine = st.Quarantine.plus(o.Size)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.sessions(ctx); err != nil {
		return err
	}
	return l.compare(ctx)
}

func (l *look) pack(o store.Info) {
	session, hash, ok := parsePack(o.Name)
	if !ok {
		return
	}
	i, found := l.listed.Find(hash)
	switch {
	case found && l.listed.Owner(i) == session:
		l.there[i], l.since[i] = o.Size, o.ModTime
	case !l.living[session.String()]:
		l.status.Unlisted = l.status.Unlisted.plus(o.Size)
	}
}

// compare looks at each pack that is listed.
func (l *look) compare(ctx context.Context) error {
	writers, err := l.writers(ctx)
	if err != nil {
		return err
	}
	gone := false
	for i, p := range l.listed.List {
		if l.there[i] != int64(p.Size) {
			gone = true
			continue
		}
		l.status.Packs = l.status.Packs.plus(l.there[i])
		if p.Damaged {
			l.status.Damaged = append(l.status.Damaged, packLabel(p.Hash))
		}
		if epoch, ok := l.listed.Condemned(i); ok {
			l.status.Condemned = l.status.Condemned.plus(l.there[i])
			l.waitsFor(writers, epoch)
		}
	}
	if !gone {
		return nil
	}
	return l.missing(ctx)
}

// missing lists the packs that are gone or cut off. What the newest index does
// not list any more was removed by a collector meanwhile.
func (l *look) missing(ctx context.Context) error {
	if err := l.repo.refresh(ctx); err != nil {
		return err
	}
	now, err := l.repo.index.Packs()
	if err != nil {
		return err
	}
	for i, p := range l.listed.List {
		if _, still := now.Find(p.Hash); still && l.there[i] != int64(p.Size) {
			l.status.Missing = append(l.status.Missing, packLabel(p.Hash))
		}
	}
	return nil
}

// A writer is a session that may rely on packs that were condemned after it
// began: those of later epochs.
type writer struct {
	SessionInfo
	epoch uint64
}

// writers are the living sessions that write. One whose lease cannot be read
// counts as one, of the first epoch.
func (l *look) writers(ctx context.Context) (list []writer, err error) {
	for _, s := range l.status.Sessions {
		if !s.Alive || s.Kind == "read" || s.Kind == "gc" {
			continue
		}
		w := writer{SessionInfo: s}
		id, err := format.ParseSnapshotID(s.ID)
		if err != nil {
			continue
		}
		if b, err := l.repo.store.Get(ctx, "sessions/"+s.ID, store.MaxLease); err == nil {
			if lease, err := format.DecodeLease(l.repo.leaseKey(id), "sessions/"+s.ID, b); err == nil {
				w.epoch = lease.Epoch
			}
		}
		list = append(list, w)
	}
	return list, nil
}

// waitsFor notes for whom a pack waits that was condemned in an epoch.
func (l *look) waitsFor(writers []writer, epoch uint64) {
	for _, w := range writers {
		known := slices.ContainsFunc(l.status.CondemnedFor, func(s SessionInfo) bool { return s.ID == w.ID })
		if w.epoch < epoch && !known {
			l.status.CondemnedFor = append(l.status.CondemnedFor, w.SessionInfo)
		}
	}
}

// forgotten looks at what is marked and still there.
func (l *look) forgotten(ctx context.Context) error {
	marks, err := l.repo.marks(ctx)
	if err != nil {
		return err
	}
	f := &l.status.Forgotten
	for id := range marks {
		m, err := l.repo.readManifest(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // only the mark is left, because a later snapshot names this one
		}
		if err != nil {
			if err := l.problem(err); err != nil {
				return err
			}
			continue
		}
		f.Snapshots++
		f.Added += m.Private.Summary.BytesStored
		mark, err := l.repo.mark(ctx, id)
		if err != nil {
			if err := l.problem(err); err != nil {
				return err
			}
		}
		if mark != nil && (f.Oldest.IsZero() || mark.Time < f.Oldest.Unix()) {
			f.Oldest = time.Unix(mark.Time, 0)
		}
	}
	return nil
}

func (l *look) space(ctx context.Context) (err error) {
	l.status.Free, l.status.Capacity, err = l.repo.store.Free(ctx)
	return err
}

// reading tells when packs were last read.
func (l *look) reading() {
	st := &l.status.Reading
	st.Limit = time.Duration(RuleFor(l.rules, "", "").MaxUnread) * time.Second
	oldest := int64(0)
	for i, read := range l.ledger.readTimes(l.listed, l.all) {
		if _, condemned := l.listed.Condemned(i); condemned || l.there[i] < 0 {
			continue
		}
		last := unixTime(moment(read))
		if read == 0 {
			st.Never = st.Never.plus(l.there[i])
			last = l.since[i]
		} else if oldest == 0 || moment(read) < oldest {
			oldest = moment(read)
		}
		if st.Limit > 0 && l.now.Sub(last) > st.Limit {
			st.Overdue = st.Overdue.plus(l.there[i])
		}
	}
	st.Oldest = unixTime(oldest)
	for _, p := range l.ledger.all.Packs {
		if _, listed := l.listed.Find(p.Pack); listed && !l.ledger.believes(p.Time) {
			st.Future++
		}
	}
}

// plus is the count with one more file.
func (c PackCount) plus(bytes int64) PackCount { return PackCount{c.Packs + 1, c.Bytes + bytes} }
