package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"vaultfs/repo/format"
)

// Commit makes the snapshot exist: every pack durable and, if the session
// verifies, read back and rehashed; every pack listed; the structure of every
// item walked down to the place of each chunk; then one atomic step. After an
// error the snapshot does not exist and the session is to be aborted.
func (s *Session) Commit(ctx context.Context, info Info) (*Snapshot, error) {
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	if err := s.mergeOwn(ctx); err != nil {
		return nil, err
	}
	if err := s.leaveTrace(ctx); err != nil {
		return nil, err
	}
	if err := s.checkStructure(ctx); err != nil {
		return nil, err
	}
	if s.options.Inspect != nil {
		open := func(it Item) (*File, error) { return s.repo.OpenFile(ctx, it) }
		if err := s.options.Inspect(ctx, open); err != nil {
			return nil, err
		}
	}
	m := s.manifest(info)
	key := s.repo.manifestBodyKey(s.id, s.secret)
	b := m.Encode(newSalt(), s.repo.manifestKey(s.id), key)
	if len(b) > format.MaxManifestSize {
		return nil, fmt.Errorf("the snapshot's manifest has %d bytes, more than %d", len(b), format.MaxManifestSize)
	}
	if _, err := s.repo.decodeManifest(s.id, b); err != nil {
		return nil, fmt.Errorf("the manifest just made cannot be read: %w", err)
	}
	if !s.end() {
		return nil, errors.New("the session has ended")
	}
	if err := s.lease.Commit(ctx, b, snapshotObject(s.id)); err != nil {
		return nil, fmt.Errorf("committing the snapshot: %w", err)
	}
	return newSnapshot(m), nil
}

// checkStructure proves that all structure of every item can be read, and that
// every chunk is in a pack that is there. What was taken over from the base is
// not walked again, so that the cost follows what changed.
func (s *Session) checkStructure(ctx context.Context) error {
	trusted, err := s.trusted(ctx)
	if err != nil {
		return err
	}
	s.segmentsTrusted = 0
	for _, d := range trusted {
		s.segmentsTrusted += len(d.maps)
	}
	w := s.commitWalker(trusted)
	for _, it := range s.items {
		lost, err := w.item(ctx, it)
		if err == nil {
			err = lost.first()
		}
		if err != nil {
			return fmt.Errorf("checking %s before the commit: %w", it.Name, err)
		}
	}
	return nil
}

// flush writes and lists everything that is still in memory.
func (s *Session) flush(ctx context.Context) error {
	packers := s.packers()
	if err := absorbSmall(packers); err != nil {
		return err
	}
	for _, p := range packers {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if err := s.writers.Wait(); err != nil {
		return s.failure(err)
	}
	return s.publishRun(ctx)
}

func (s *Session) manifest(info Info) *format.Manifest {
	if info.Host == "" {
		info.Host, _ = os.Hostname()
	}
	info.Notes = append(append([]string{}, s.notes...), info.Notes...)
	m := &format.Manifest{}
	m.Structure = format.ManifestStructure{
		Session: s.id, Source: s.options.Source, Kind: s.options.Kind, Seq: s.seq,
		Time: s.time().UnixNano(), SealedSecret: s.sealed, Machine: s.options.Machine,
		Tags: slices.Compact(slices.Sorted(slices.Values(s.options.Tags))),
	}
	if s.previous != nil {
		m.Structure.Previous, _ = format.ParseSnapshotID(s.previous.ID)
	}
	items := make([]format.Item, len(s.items))
	origins := make([]format.ItemOrigin, len(s.items))
	for i, it := range s.items {
		items[i] = format.Item{Name: it.Name, Kind: it.Kind, Size: it.Size, Root: it.Root, Checkpoint: it.Checkpoint}
		origins[i] = it.Origin
		info.Summary.BytesTotal += it.Size
		if it.Kind == ItemTree {
			below := s.trees[it.Root]
			info.Summary.Files += int64(below.Files)
			info.Summary.Dirs += int64(below.Dirs)
			info.Summary.Others += int64(below.Others)
		}
	}
	m.Structure.SetItems(items)
	stats := s.Stats()
	info.Summary.BytesNew, info.Summary.BytesStored = stats.BytesNew, stats.BytesStored
	info.Summary.ChunksTotal, info.Summary.ChunksNew = stats.ChunksTotal, stats.ChunksNew
	info.Summary.Milliseconds = time.Since(s.started).Milliseconds()
	info.Verified = s.verified()
	m.Private = format.ManifestPrivate{
		Host: info.Host, Program: info.Program, Mode: info.Mode, Method: info.Method, Quiesced: info.Quiesced,
		Verified: info.Verified, Notes: info.Notes, Origins: origins, Summary: info.Summary,
	}
	return m
}

// verified tells what has been proved when the manifest is made.
func (s *Session) verified() string {
	walked := "the structure of every item was walked"
	if n := s.segmentsTrusted; n > 0 {
		walked += fmt.Sprintf(" (but %d segments, which were taken over from snapshot %s as they are)", n, s.base.snapshot.Short())
	}
	switch written := s.bytesStored.Load(); {
	case !s.options.Verify:
		return "not read back (--no-verify); " + walked
	case written == 0:
		return "nothing was written that could be read back; " + walked
	default:
		return fmt.Sprintf("every pack was read back and every chunk in it rehashed (packs: %d, %.1f MiB); %s",
			s.packsVerified.Load(), float64(written)/(1<<20), walked)
	}
}

func (s *Session) time() time.Time {
	if s.options.Time.IsZero() {
		return s.started
	}
	return s.options.Time
}
