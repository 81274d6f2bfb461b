package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// A packer collects the chunks of one sort into packs.
type packer struct {
	session *Session
	kind    format.PackKind
	full    bool // packs are expected to become full
	mu      sync.Mutex
	open    *format.PackBuilder
	header  format.PackHeader
}

// add takes a payload into the open pack, and sends the pack off when it is full.
func (p *packer) add(k format.Kind, id chunk.ID, plain int, payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.start()
	}
	p.open.Add(k, id, plain, payload)
	if p.open.Size() < packTarget && p.open.Len() < format.MaxPackEntries {
		return nil
	}
	return p.flushLocked()
}

func (p *packer) start() {
	s := p.session
	p.header = format.PackHeader{Kind: p.kind, Session: s.id, Salt: newSalt()}
	key := s.repo.secrets.DataPackKey(s.secret, s.id, p.header.Salt)
	if p.kind == format.StructurePack {
		key = s.repo.secrets.StructurePackKey(s.id, p.header.Salt)
	}
	p.open = format.NewPack(p.header, seal.NewBox(key), p.buffer())
}

// flush sends off what the packer holds.
func (p *packer) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return nil
	}
	return p.flushLocked()
}

// absorb takes over what another packer of the same kind holds, if one pack
// has room for both.
func (p *packer) absorb(o *packer) {
	if p.open == nil || o.open == nil || p.open.Size()+o.open.Size() > packTarget ||
		p.open.Len()+o.open.Len() > format.MaxPackEntries {
		return
	}
	p.open.Absorb(o.open)
	o.open = nil
}

func (p *packer) flushLocked() error {
	var sealed []byte
	if p.kind == format.DataPack {
		sealed = p.session.sealed
	}
	b, err := p.open.Finish(sealed)
	if err != nil {
		return fmt.Errorf("closing a pack: %w", err)
	}
	pack := &writtenPack{bytes: b, header: p.header, entries: p.open.Entries(), hash: blake3.Sum256(b)}
	p.open = nil
	p.session.send(pack)
	return nil
}

// A writtenPack is a closed pack on its way into the store.
type writtenPack struct {
	bytes   []byte // nil once it is durable and read back
	size    int
	header  format.PackHeader
	entries []format.PackEntry
	hash    format.PackHash
}

// buffer returns memory for a pack. A lane of a disk will fill it; what other
// packers hold is often little, so theirs grows as it is needed.
func (p *packer) buffer() []byte {
	select {
	case b := <-p.session.free:
		return b
	default:
	}
	if p.full {
		return make([]byte, 0, packTarget+packRoom)
	}
	return nil
}

// recycle keeps the memory of a full pack for the next.
func (s *Session) recycle(b []byte) {
	if cap(b) < packTarget {
		return
	}
	select {
	case s.free <- b[:0]:
	default:
	}
}

// send writes a pack in the background; it waits while packWriters are busy.
func (s *Session) send(p *writtenPack) {
	s.writers.Go(func() error {
		err := s.write(s.ctx, p)
		if err != nil {
			s.runs.fail(err)
		}
		return err
	})
}

// write makes a pack durable, reads it back if the session verifies, and hands
// its entries to the next run.
func (s *Session) write(ctx context.Context, p *writtenPack) error {
	name := packObject(s.id, p.hash)
	if err := s.checkRoom(ctx, int64(len(p.bytes))); err != nil {
		return fmt.Errorf("writing %s: %w", packLabel(p.hash), err)
	}
	if err := s.repo.store.Put(ctx, name, p.bytes); err != nil {
		return fmt.Errorf("writing %s: %w", packLabel(p.hash), err)
	}
	p.size = len(p.bytes)
	s.bytesStored.Add(int64(p.size))
	if s.options.Verify {
		if err := s.repo.readBack(ctx, name, p); err != nil {
			// Nobody may come to rely on it, also not after the index was lost.
			_ = s.repo.store.Delete(context.WithoutCancel(ctx), name)
			return fmt.Errorf("reading back %s: %w: the storage did not keep what was written", packLabel(p.hash), err)
		}
		s.packsVerified.Add(1)
	}
	s.recycle(p.bytes)
	p.bytes = nil
	return s.listPack(ctx, p)
}
