package repo

import (
	"context"
	"fmt"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// A Lane puts chunks into a session. What is put through one lane lies
// together in the packs, so one goroutine that goes through a disk in order
// has a lane of its own. A lane is not for concurrent use.
type Lane struct {
	session *Session
	data    packer
	payload []byte
}

// Lane opens a lane. What it holds is written at Commit at the latest.
func (s *Session) Lane() *Lane {
	l := &Lane{session: s}
	l.data = packer{session: s, kind: format.DataPack}
	s.mu.Lock()
	s.lanes = append(s.lanes, l)
	s.mu.Unlock()
	return l
}

// Put makes sure that the repository holds a chunk of a disk and returns its
// ID. It does not keep plain. After an error the session is lost.
func (l *Lane) Put(ctx context.Context, plain []byte) (chunk.ID, error) {
	return l.put(ctx, format.Data, plain, &l.data)
}

// putStream is Put for a chunk of a stream.
func (l *Lane) putStream(ctx context.Context, plain []byte) (chunk.ID, error) {
	return l.put(ctx, format.Data, plain, l.session.streamPacker())
}

// putStructure is Put for a structured chunk.
func (l *Lane) putStructure(ctx context.Context, k format.Kind, plain []byte) (chunk.ID, error) {
	return l.put(ctx, k, plain, &l.session.structure)
}

func (l *Lane) put(ctx context.Context, k format.Kind, plain []byte, to *packer) (chunk.ID, error) {
	id := l.session.repo.name(k, plain)
	return id, l.putNamed(ctx, k, id, plain, to)
}

// putNamed is put for a chunk of which the ID is known.
func (l *Lane) putNamed(ctx context.Context, k format.Kind, id chunk.ID, plain []byte, to *packer) error {
	s := l.session
	if len(plain) == 0 || len(plain) > chunk.MaxSize {
		return fmt.Errorf("%v of %d bytes", k, len(plain))
	}
	if err := s.ctx.Err(); err != nil {
		return s.failure(err)
	}
	if !k.Structured() {
		s.chunksTotal.Add(1)
		s.bytesTotal.Add(int64(len(plain)))
	}
	if !s.claim(ctx, k, id) {
		return nil
	}
	if to == &l.data {
		l.payload = format.Payload(l.payload[:0], plain)
	} else {
		l.payload = format.SmallPayload(l.payload[:0], plain)
	}
	if !k.Structured() {
		s.chunksNew.Add(1)
		s.bytesNew.Add(int64(len(plain)))
		s.bytesAdded.Add(int64(len(l.payload) + seal.Overhead))
	}
	return to.add(k, id, len(plain), l.payload)
}

// claim tells whether the caller is to store the chunk: it is wanted, and neither
// the repository nor this session has it yet. The claim is taken before the index
// is asked, so that a chunk which is just being listed is found in one or the other.
func (s *Session) claim(ctx context.Context, k format.Kind, id chunk.ID) bool {
	if s.wanted != nil && !s.wanted(id) || !s.claims.take(id) {
		return false
	}
	if s.usable(ctx, k, id) {
		s.claims.drop(id)
		return false
	}
	return true
}

// failure returns why the session's context ended.
func (s *Session) failure(err error) error {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	if s.runs.failed != nil {
		return s.runs.failed
	}
	return err
}
