package repo

import (
	"context"
	"errors"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// A suspect is a pack that the index lists and that is not as it should be.
type suspect struct {
	hash    format.PackHash
	session format.SnapshotID
	missing bool
}

func (s suspect) object() string { return packObject(s.session, s.hash) }

// find lists what is damaged.
func (p *repair) find(ctx context.Context) error {
	if err := p.repo.refresh(ctx); err != nil {
		return err
	}
	found, err := p.verify(ctx, !p.options.Known)
	if err != nil {
		return err
	}
	p.result.Before = found
	return p.findSuspects(ctx)
}

// verify returns what is damaged.
func (p *repair) verify(ctx context.Context, readData bool) ([]Finding, error) {
	p.options.Progress("checking the structure", 0, 0)
	v, err := p.repo.Verify(ctx, VerifyOptions{ReadData: readData, Progress: func(done, total int64) { p.options.Progress("reading", done, total) }})
	if err != nil {
		return nil, err
	}
	if len(v.Newer) > 0 {
		return nil, errors.Join(v.Newer...)
	}
	return v.Findings, nil
}

// findSuspects lists the packs that are missing, of another length, known to the
// head as damaged, or named by a finding.
func (p *repair) findSuspects(ctx context.Context) error {
	if err := p.repo.refresh(ctx); err != nil {
		return err
	}
	listed, err := p.repo.index.Packs()
	if err != nil {
		return err
	}
	there := make([]bool, len(listed.List))
	sized := make([]bool, len(listed.List))
	err = p.repo.store.List(ctx, "packs", func(o store.Info) error {
		session, hash, ok := parsePack(o.Name)
		if !ok {
			return nil
		}
		if i, found := listed.Find(hash); found && listed.Owner(i) == session {
			there[i], sized[i] = true, int64(listed.List[i].Size) == o.Size
		}
		return nil
	})
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, f := range p.result.Before {
		named[f.Object] = true
	}
	p.suspects = nil
	for i, l := range listed.List {
		if !sized[i] || l.Damaged || named[packLabel(l.Hash)] {
			p.suspects = append(p.suspects, suspect{l.Hash, listed.Owner(i), !there[i]})
		}
	}
	return p.probe(ctx)
}

// probe reads the suspects that are there. One that turns out to be whole is
// none: it was the index that was wrong about it. Of the others it is noted
// which chunks cannot be read.
func (p *repair) probe(ctx context.Context) error {
	p.places, p.clean = newPlaces(), map[chunk.ID]struct{}{}
	p.suspects = slices.DeleteFunc(p.suspects, func(s suspect) bool { return !s.missing && p.isWhole(ctx, s) })
	for _, s := range p.suspects {
		if s.missing {
			p.places.missing[s.hash] = true
		}
	}
	return p.eachChunk(ctx, func(s suspect, at index.Location, _ []byte, err error) error {
		if err != nil {
			p.places.bad[placeKey{at.Pack.Hash, at.Ordinal}] = true
		}
		return nil
	})
}

// isWhole tells whether a pack is what its name says, all of it.
func (p *repair) isWhole(ctx context.Context, s suspect) bool {
	b, err := p.repo.store.GetCold(ctx, s.object(), format.MaxPackSize, nil)
	if err != nil {
		return false
	}
	_, err = p.repo.checkPack(s.hash, b)
	return err == nil
}

// A placeKey is where a chunk stands.
type placeKey struct {
	pack    format.PackHash
	ordinal uint32
}

// suspectPlaces tells which places of chunks are good.
type suspectPlaces struct {
	missing map[format.PackHash]bool
	bad     map[placeKey]bool
}

func newPlaces() *suspectPlaces {
	return &suspectPlaces{map[format.PackHash]bool{}, map[placeKey]bool{}}
}

// good tells whether a chunk can be read there, as far as is known.
func (p *suspectPlaces) good(at index.Location) bool {
	return !p.missing[at.Pack.Hash] && !p.bad[placeKey{at.Pack.Hash, at.Ordinal}]
}
