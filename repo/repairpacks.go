package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// probePacks is the number of suspect packs that one pass over the index looks
// for; their entries are in memory meanwhile.
const probePacks = 256

// eachChunk calls fn for each chunk of the suspects whose file is there, or lies
// in quarantine/ because a repair before this one was interrupted. A chunk that
// cannot be read comes with the error. plain is valid during the call.
func (p *repair) eachChunk(ctx context.Context, fn func(s suspect, at index.Location, plain []byte, err error) error) error {
	for part := range slices.Chunk(p.suspects, probePacks) {
		entries, err := p.entries(ctx, part)
		if err != nil {
			return err
		}
		for i, s := range part {
			if err := p.readEntries(ctx, s, entries[i], fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// entries are the chunks of packs: what the index says, and what the pack's own
// footer says, if it can be read, of chunks that the index does not have.
func (p *repair) entries(ctx context.Context, packs []suspect) ([][]index.Location, error) {
	at, hashes := map[format.PackHash]int{}, make([]format.PackHash, len(packs))
	for i, s := range packs {
		at[s.hash], hashes[i] = i, s.hash
	}
	all := make([][]index.Location, len(packs))
	err := p.repo.index.Each(hashes, func(l index.Location) error {
		i := at[l.Pack.Hash]
		all[i] = append(all[i], l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, s := range packs {
		all[i] = p.addFooter(ctx, s, all[i])
		slices.SortFunc(all[i], func(a, b index.Location) int { return int(int64(a.Ordinal) - int64(b.Ordinal)) })
		all[i] = slices.CompactFunc(all[i], func(a, b index.Location) bool { return a.Ordinal == b.Ordinal && a.Chunk == b.Chunk })
	}
	return all, nil
}

// addFooter adds what the footer of a pack says.
func (p *repair) addFooter(ctx context.Context, s suspect, known []index.Location) []index.Location {
	size, err := p.repo.store.Size(ctx, s.object())
	if err != nil {
		return known
	}
	pack, _, err := p.repo.readFooter(ctx, store.Info{Name: s.object(), Size: size})
	if err != nil {
		return known
	}
	for i, e := range pack.Entries {
		known = append(known, index.Location{Chunk: e, Ordinal: uint32(i), Session: s.session, SealedSecret: pack.SealedSecret,
			Pack: format.RunPack{Hash: s.hash, Salt: pack.Header.Salt, Kind: pack.Header.Kind, Size: uint32(size)}})
	}
	return known
}

// readEntries reads the chunks of one pack.
func (p *repair) readEntries(ctx context.Context, s suspect, entries []index.Location, fn func(suspect, index.Location, []byte, error) error) error {
	if len(entries) == 0 {
		return nil
	}
	name, err := p.fileOf(ctx, s)
	if err != nil || name == "" {
		return err
	}
	var box *seal.Box
	var plain []byte
	for _, at := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if box, err = p.repo.packBox(format.PackHeader{Kind: at.Pack.Kind, Session: at.Session, Salt: at.Pack.Salt}, at.SealedSecret); err == nil {
			sealed := make([]byte, at.Chunk.Sealed)
			if _, err = p.repo.store.ReadAt(ctx, name, sealed, int64(at.Chunk.Offset)); err == nil {
				plain, err = p.repo.openChunk(plain, box, uint64(at.Ordinal), at.Chunk, sealed)
			}
		}
		if err := fn(s, at, plain, err); err != nil {
			return err
		}
	}
	return nil
}

// fileOf is the object that holds what is left of a pack; "" if there is none.
func (p *repair) fileOf(ctx context.Context, s suspect) (string, error) {
	for _, name := range []string{s.object(), quarantine + s.object()} {
		_, err := p.repo.store.Size(ctx, name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
	}
	return "", nil
}

// setPacksAside copies what is good in the damaged packs and takes them out of
// the repository, in three steps: the copies are listed; then the files are
// moved; then the packs are taken out of the index.
//
// So nothing is ever in no head: a crash after the first step leaves copies
// that are listed twice, one after the second a pack that is listed and missing, whose
// file the next repair finds in quarantine/. Were the pack taken out of the
// index first, its file would for a moment be what interrupted sessions leave,
// and a collector would delete it. Readers that miss the file in between find
// the copies when they look at the head again.
//
// All good chunks are copied, whether a snapshot needs them or not, and whether
// other packs have them or not: a session may have just found one here that is in
// no other pack which stays.
func (p *repair) setPacksAside(ctx context.Context) error {
	packs, err := p.salvageable(ctx)
	if err != nil || len(packs) == 0 {
		return err
	}
	if err := p.copyGood(ctx); err != nil {
		return err
	}
	var hashes []format.PackHash
	for _, s := range packs {
		if err := p.aside(ctx, s.object()); err != nil {
			return err
		}
		hashes = append(hashes, s.hash)
	}
	if err := p.publish(ctx, editSetAside(hashes, true)); err != nil {
		return err
	}
	p.suspects = slices.DeleteFunc(p.suspects, func(s suspect) bool { return slices.Contains(hashes, s.hash) })
	for _, hash := range hashes {
		delete(p.places.missing, hash)
	}
	clear(p.places.bad)
	return nil
}

// salvageable are the suspects of which there is a file.
func (p *repair) salvageable(ctx context.Context) (packs []suspect, err error) {
	for _, s := range p.suspects {
		name, err := p.fileOf(ctx, s)
		if err != nil {
			return nil, err
		}
		if name != "" {
			packs = append(packs, s)
		}
	}
	return packs, nil
}

// copyGood copies all chunks of the suspects that can be read into packs of its
// own, which are read back and listed when it returns.
func (p *repair) copyGood(ctx context.Context) error {
	return p.storing(ctx, func(s *Session) error {
		var payload []byte
		done := int64(0)
		return p.eachChunk(ctx, func(_ suspect, at index.Location, plain []byte, err error) error {
			if err != nil {
				return ctx.Err() // it is lost, which is told later
			}
			done += int64(at.Chunk.Sealed)
			p.options.Progress("copying what is good in damaged packs", done, 0)
			payload = format.Payload(payload[:0], plain)
			p.result.Saved++
			return s.copyChunk(at.Chunk.Kind, at.Chunk.ID, len(plain), payload)
		})
	})
}

// storing calls fn with a session, and lists what that has stored. It is a
// writer's session, so that what it deduplicates against stays until its end.
func (p *repair) storing(ctx context.Context, fn func(*Session) error) error {
	if err := p.lease.Held(ctx); err != nil {
		return err
	}
	s, err := p.repo.newCopySession(ctx, format.WriteLease, purposeStore)
	if err != nil {
		return err
	}
	if err = fn(s); err == nil {
		err = s.flush(ctx)
	}
	if err != nil {
		err = fmt.Errorf("storing what is good: %w", err)
	}
	return errors.Join(err, s.Abort(ctx))
}

// editSetAside is an edit for publish: it takes packs out of the index. Those that
// held what may be lost with them stay named as damaged: see lookAtPacks.
func editSetAside(packs []format.PackHash, mayBeMissed bool) func(*format.Head) bool {
	return func(h *format.Head) (changed bool) {
		for _, p := range packs {
			i, told := slices.BinarySearchFunc(h.Damaged, p, format.PackHash.Compare)
			switch {
			case mayBeMissed && !told:
				h.Damaged, changed = slices.Insert(h.Damaged, i, p), true
			case !mayBeMissed && told:
				h.Damaged, changed = slices.Delete(h.Damaged, i, i+1), true
			}
			at := func(c format.CondemnedPack, p format.PackHash) int { return c.Pack.Compare(p) }
			if i, ok := slices.BinarySearchFunc(h.Condemned, p, at); ok {
				h.Condemned, changed = slices.Delete(h.Condemned, i, i+1), true
			}
			if i, ok := slices.BinarySearchFunc(h.Removed, p, format.PackHash.Compare); !ok {
				h.Removed, changed = slices.Insert(h.Removed, i, p), true
			}
		}
		return changed
	}
}

// clearSetAside lets the packs that repairs have set aside be forgotten, once verify
// has walked everything and missed nothing.
func (p *repair) clearSetAside(ctx context.Context) error {
	missed := func(f Finding) bool { return len(f.Touches) > 0 }
	if len(p.suspects) > 0 || slices.ContainsFunc(p.result.Before, missed) {
		return nil
	}
	packs, err := p.repo.index.Packs()
	if err != nil {
		return err
	}
	h, err := p.repo.currentHead(ctx)
	if err != nil {
		return err
	}
	if away := setAside(h, packs); len(away) > 0 {
		return p.publish(ctx, editDamaged(nil, func(h format.PackHash) bool { return has(away, h) }))
	}
	return nil
}

// setAside are the packs that a head names as damaged and the index does not list.
func setAside(h *format.Head, listed *index.Packs) (away []format.PackHash) {
	for _, hash := range h.Damaged {
		if _, found := listed.Find(hash); !found {
			away = append(away, hash)
		}
	}
	return away
}
