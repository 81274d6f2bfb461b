package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// packTarget is the size at which a pack is closed, packPiece that of the pieces
// in which it is written, in bytes. Tests lower both.
var (
	packTarget = 16 << 20
	packPiece  = 1 << 20
)

// A packer collects the chunks of one sort into packs, and writes these as they
// grow: only the last piece is in memory.
type packer struct {
	session *Session
	kind    format.PackKind
	mu      sync.Mutex
	open    *format.PackBuilder // nil when there is no chunk for it yet
	header  format.PackHeader
	out     *store.Writer // of the open pack, nil while all of it is in memory
	hash    *blake3.Hasher
	memory  []byte // of pieces, for the next pack
}

// add takes a payload into the open pack, and sends the pack off when it is full.
func (p *packer) add(k format.Kind, id chunk.ID, plain int, payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.start()
	}
	p.open.Add(k, id, plain, payload)
	if p.open.Size() >= packTarget || p.open.Len() >= format.MaxPackEntries {
		return p.close()
	}
	if len(p.open.Pending()) >= packPiece {
		return p.writePiece()
	}
	return nil
}

func (p *packer) start() {
	s := p.session
	p.header = format.PackHeader{Kind: p.kind, Session: s.id, Salt: newSalt()}
	key := s.repo.secrets.DataPackKey(s.secret, s.id, p.header.Salt)
	if p.kind == format.StructurePack {
		key = s.repo.secrets.StructurePackKey(s.id, p.header.Salt)
	}
	p.open, p.hash = format.NewPack(p.header, seal.NewBox(key), p.memory), blake3.New()
}

// writePiece writes what is pending. With an error the session has failed.
func (p *packer) writePiece() error {
	if err := p.tryPiece(); err != nil {
		p.drop()
		return p.session.fail(fmt.Errorf("writing a pack: %w", err))
	}
	return nil
}

func (p *packer) tryPiece() (err error) {
	s, b := p.session, p.open.Pending()
	if err := s.checkRoom(s.ctx, int64(len(b))); err != nil {
		return err
	}
	if p.out == nil {
		if p.out, err = s.repo.store.Begin(s.ctx, packsOf(s.id)); err != nil {
			return err
		}
	}
	p.hash.Write(b)
	if _, err := p.out.Write(b); err != nil {
		return err
	}
	p.open.Take()
	p.memory = b[:0]
	return nil
}

// flush sends off what the packer holds.
func (p *packer) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return nil
	}
	return p.close()
}

// absorb takes over what another packer of the same kind holds, if nothing of that is
// written yet and one pack has room for both.
func (p *packer) absorb(o *packer) error {
	if p.open == nil || o.open == nil || o.out != nil || o.kind != p.kind || p.open.Size()+o.open.Size() > packTarget ||
		p.open.Len()+o.open.Len() > format.MaxPackEntries {
		return nil
	}
	if err := p.open.Absorb(o.open); err != nil {
		return p.session.fail(fmt.Errorf("putting packs together: %w", err))
	}
	o.open = nil
	return nil
}

// close writes the rest of the open pack and sends it off.
func (p *packer) close() error {
	var sealed []byte
	if p.kind == format.DataPack {
		sealed = p.session.sealed
	}
	if _, err := p.open.Finish(sealed); err != nil {
		p.drop()
		return p.session.fail(fmt.Errorf("closing a pack: %w", err))
	}
	if err := p.writePiece(); err != nil {
		return err
	}
	pack := &writtenPack{size: p.open.Size(), header: p.header, entries: p.open.Entries()}
	p.hash.Sum(pack.hash[:0])
	out := p.out
	p.open, p.out = nil, nil
	p.session.send(out, pack)
	return nil
}

// drop gives up the open pack.
func (p *packer) drop() {
	if p.out != nil {
		p.out.Abort()
	}
	p.open, p.out = nil, nil
}

// discard is drop for a packer that others may still use.
func (p *packer) discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

// A writtenPack is a pack of which all is written.
type writtenPack struct {
	size    int // bytes
	header  format.PackHeader
	entries []format.PackEntry
	hash    format.PackHash
}

// send makes a pack durable in the background; it waits while packWriters are busy.
func (s *Session) send(out *store.Writer, p *writtenPack) {
	s.writers.Go(func() error {
		err := s.finish(s.ctx, out, p)
		if err != nil {
			s.runs.fail(err)
		}
		return err
	})
}

// finish makes a pack durable, reads it back if the session verifies, and hands
// its entries to the next run.
func (s *Session) finish(ctx context.Context, out *store.Writer, p *writtenPack) error {
	name := packObject(s.id, p.hash)
	if err := out.Commit(ctx, name); err != nil {
		return fmt.Errorf("writing %s: %w", packLabel(p.hash), err)
	}
	s.bytesStored.Add(int64(p.size))
	if s.options.Verify {
		if err := s.repo.readBack(ctx, name, p); err != nil {
			// Nobody may come to rely on it, also not after the index was lost.
			_ = s.repo.store.Delete(context.WithoutCancel(ctx), name)
			return fmt.Errorf("reading back %s: %w: the storage did not keep what was written", packLabel(p.hash), err)
		}
		s.packsVerified.Add(1)
	}
	return s.listPack(ctx, p)
}

// fail makes the session fail, and returns why: what failed first.
func (s *Session) fail(err error) error {
	s.runs.fail(err)
	err = s.failure(err)
	s.writers.Go(func() error { return err })
	return err
}

// packers are all that the session has, those of data packs first.
func (s *Session) packers() []*packer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []*packer{&s.streams[0], &s.streams[1]}
	for _, l := range s.lanes {
		all = append(all, &l.data)
	}
	return append(all, &s.directories, &s.structure)
}

// absorbSmall puts packs together: a small backup makes one data pack, however many
// lanes it had.
func absorbSmall(packers []*packer) error {
	for i, p := range packers {
		for _, o := range packers[i+1:] {
			into, from := o, p
			if p.out != nil {
				into, from = p, o
			}
			if err := into.absorb(from); err != nil {
				return err
			}
		}
	}
	return nil
}

// discardOpen gives up the packs that are not closed, and the room they take.
func (s *Session) discardOpen() {
	for _, p := range s.packers() {
		p.discard()
	}
}
