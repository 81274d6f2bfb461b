package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// A SessionInfo describes somebody at work in the repository.
type SessionInfo struct {
	ID      string
	Kind    string // "write", "read", "gc"; "unknown" when the lease cannot be read
	Purpose string
	Host    string
	PID     int
	Since   time.Time
	Alive   bool
}

// purposeRepair is the purpose of the lease of RebuildIndex.
const purposeRepair = "repair index"

func newSnapshotID() (id format.SnapshotID) {
	rand.Read(id[:])
	return id
}

func (r *Repo) openLease(ctx context.Context, id format.SnapshotID, l format.Lease) (*store.Lease, error) {
	l.Host, _ = os.Hostname()
	l.PID = uint64(os.Getpid())
	l.Since = wallClock().Unix()
	name := id.String()
	return r.store.OpenLease(ctx, name, l.Encode(newSalt(), r.leaseKey(id), "sessions/"+name))
}

// A work is the lease of somebody at work, or who died at it.
type work struct {
	SessionInfo
	id    format.SnapshotID
	lease *format.Lease // nil if it cannot be read: then it forbids most
}

// works reads all leases.
func (r *Repo) works(ctx context.Context) (list []work, err error) {
	leases, err := r.store.Leases(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		w := work{SessionInfo: SessionInfo{ID: l.Name, Kind: "unknown", Since: l.ModTime, Alive: l.Alive}}
		if w.id, err = format.ParseSnapshotID(l.Name); err == nil {
			w.lease, err = format.DecodeLease(r.leaseKey(w.id), "sessions/"+l.Name, l.Content)
		}
		if err == nil {
			w.Kind = [...]string{"", "write", "read", "gc"}[w.lease.Kind]
			w.Purpose, w.Host, w.PID = w.lease.Purpose, w.lease.Host, int(w.lease.PID)
			w.Since = time.Unix(w.lease.Since, 0)
		} else {
			w.lease = nil
		}
		list = append(list, w)
	}
	return list, nil
}

// Sessions lists who is at work, or died at it.
func (r *Repo) Sessions(ctx context.Context) (list []SessionInfo, err error) {
	works, err := r.works(ctx)
	for _, w := range works {
		list = append(list, w.SessionInfo)
	}
	return list, err
}

// How long checkAlone waits for a rival that may be giving way, and for a lease
// that cannot be read because it is just being committed. Tests lower them.
var (
	rivalWait  = time.Second
	commitWait = 30 * time.Second
	rivalPoll  = 10 * time.Millisecond
)

// checkAlone refuses when another session writes a snapshot of the same source.
// Our own lease is seen by then, so of two that begin at once each sees the
// other: the one with the higher ID gives way, and the other waits for that.
// Who is there already does not go away.
func (r *Repo) checkAlone(ctx context.Context, own, purpose string) error {
	repair, err := r.rival(ctx, own, purposeRepair)
	if err != nil {
		return err
	}
	if repair != nil && repair.Kind == "gc" {
		return fmt.Errorf("%w: its index is being repaired by process %d on %s", ErrInUse, repair.PID, repair.Host)
	}
	for begin := time.Now(); ; {
		rival, err := r.rival(ctx, own, purpose)
		if err != nil || rival == nil {
			return err
		}
		waited := time.Since(begin)
		if rival.Kind == "write" && (rival.ID < own || waited > rivalWait) || waited > commitWait {
			return fmt.Errorf("%w: by process %d on %s since %s", ErrSourceBusy, rival.PID, rival.Host, rival.Since.Format("15:04:05"))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rivalPoll):
		}
	}
}

// rival returns a living session of the same purpose, or one that may be.
func (r *Repo) rival(ctx context.Context, own, purpose string) (*SessionInfo, error) {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	var rival *SessionInfo
	for i, s := range sessions {
		if !s.Alive || s.ID == own {
			continue
		}
		if (s.Kind == "write" || s.Kind == "gc") && s.Purpose == purpose {
			return &sessions[i], nil
		}
		if s.Kind == "unknown" {
			rival = &sessions[i]
		}
	}
	return rival, nil
}

// A Pin keeps snapshots from being collected while they are read.
type Pin struct {
	repo    *Repo
	purpose string
	leases  []readLease
	pinned  map[string]bool
}

type readLease struct {
	lease     *store.Lease
	snapshots []format.SnapshotID
}

// Pin opens a read lease on snapshots. Purpose is shown to others: "mount /mnt".
func (r *Repo) Pin(ctx context.Context, purpose string, snapshots ...*Snapshot) (*Pin, error) {
	p := &Pin{repo: r, purpose: purpose, pinned: map[string]bool{}}
	return p, p.Add(ctx, snapshots...)
}

// leaseSnapshots is the number of snapshots that one lease has room for.
const leaseSnapshots = 1000

// Add pins further snapshots. It is not for concurrent use. A snapshot that
// was forgotten meanwhile is ErrNotFound.
func (p *Pin) Add(ctx context.Context, snapshots ...*Snapshot) error {
	var ids []format.SnapshotID
	for _, s := range snapshots {
		if p.pinned[s.ID] {
			continue
		}
		id, err := format.ParseSnapshotID(s.ID)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for part := range slices.Chunk(ids, leaseSnapshots) {
		if err := p.add(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// add opens one lease, and then looks whether the snapshots are still there.
// What the lease before has room for is named in the new one too, which takes
// its place. Where one of them is gone, everything stays as it was.
func (p *Pin) add(ctx context.Context, ids []format.SnapshotID) error {
	all, old := ids, (*store.Lease)(nil)
	if n := len(p.leases); n > 0 && len(p.leases[n-1].snapshots)+len(ids) <= leaseSnapshots {
		all, old = append(slices.Clone(p.leases[n-1].snapshots), ids...), p.leases[n-1].lease
	}
	l, err := p.open(ctx, all)
	if l == nil || err != nil {
		return err
	}
	for _, id := range ids {
		if err := p.repo.isKept(ctx, id); err != nil {
			return errors.Join(err, l.Release(context.WithoutCancel(ctx)))
		}
	}
	if old != nil {
		p.leases = p.leases[:len(p.leases)-1]
	}
	p.leases = append(p.leases, readLease{l, all})
	for _, id := range ids {
		p.pinned[id.String()] = true
	}
	if old != nil {
		return old.Release(ctx)
	}
	return nil
}

// isKept returns nil for a snapshot that is there and not forgotten. It is called
// once a lease names the snapshot, which then stays until the lease ends. The
// mark is looked for first: who removes a forgotten snapshot removes its manifest
// before its mark, so that one of the two looks tells. A mark that cannot be read
// counts.
func (r *Repo) isKept(ctx context.Context, id format.SnapshotID) error {
	_, err := r.store.Size(ctx, forgottenObject(id))
	if err == nil {
		return fmt.Errorf("snapshot %s: %w: it was forgotten", id, ErrNotFound)
	}
	if errors.Is(err, store.ErrNotFound) {
		_, err = r.store.Size(ctx, snapshotObject(id))
	}
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("snapshot %s: %w", id, ErrNotFound)
	}
	return err
}

// open opens a read lease; nil where there can be none.
func (p *Pin) open(ctx context.Context, ids []format.SnapshotID) (*store.Lease, error) {
	lease := format.Lease{Kind: format.ReadLease, Purpose: p.purpose, Snapshots: ids}
	if h, err := p.repo.currentHead(ctx); err == nil {
		lease.Epoch = h.Epoch
	}
	l, err := p.repo.openLease(ctx, newSnapshotID(), lease)
	switch {
	case errors.Is(err, store.ErrReadOnly):
		return nil, nil // nobody can collect here either
	case errors.Is(err, store.ErrFull):
		// On a full disk it must still be possible to read.
		p.repo.warn(fmt.Sprintf("what is read cannot be kept from being collected meanwhile: %v", err))
		return nil, nil
	}
	return l, err
}

// Held returns nil while the pin protects, else store.ErrBroken.
func (p *Pin) Held(ctx context.Context) error {
	for _, l := range p.leases {
		if err := l.lease.Held(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mustHold sees to it that there is a lease, also one that names no snapshot.
func (p *Pin) mustHold(ctx context.Context) error {
	if len(p.leases) > 0 {
		return nil
	}
	l, err := p.open(ctx, nil)
	if err == nil && l == nil {
		err = store.ErrReadOnly
	}
	if err == nil {
		p.leases = append(p.leases, readLease{l, nil})
	}
	return err
}

// Release gives the pinned snapshots free.
func (p *Pin) Release(ctx context.Context) error {
	var errs []error
	for _, l := range p.leases {
		errs = append(errs, l.lease.Release(ctx))
	}
	p.leases = nil
	return errors.Join(errs...)
}
