package nbd

import (
	"encoding/binary"
	"math"
	"syscall"
)

// chunk is the header of one structured reply chunk.
type chunk struct {
	flags, kind uint16
	handle      uint64
	length      uint32 // of the payload
}

// readReply reads one simple reply or one chunk of a structured reply. An error ends the connection.
func (c *conn) readReply() error {
	var h [20]byte
	if err := c.read(h[:16]); err != nil {
		return err
	}
	switch magic := binary.BigEndian.Uint32(h[:]); {
	case magic == magicSimple:
		return c.simpleReply(binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint32(h[4:]))
	case magic == magicStructured && c.structured:
		if err := c.read(h[16:]); err != nil {
			return err
		}
		return c.structuredReply(chunk{
			flags:  binary.BigEndian.Uint16(h[4:]),
			kind:   binary.BigEndian.Uint16(h[6:]),
			handle: binary.BigEndian.Uint64(h[8:]),
			length: binary.BigEndian.Uint32(h[16:]),
		})
	default:
		return protocolError("reply starts with %#x", magic)
	}
}

func (c *conn) simpleReply(handle uint64, errno uint32) error {
	r, err := c.lookup(handle)
	if err != nil {
		return err
	}
	switch {
	case r.chunks > 0:
		return protocolError("simple reply after structured chunks of the same reply")
	case errno != 0:
		r.failure = &Error{Errno: syscall.Errno(errno), Offset: -1}
	case c.structured:
		return protocolError("simple reply where only a structured one has data")
	default:
		if err := c.readInto(r, 0, int(r.length), c.progress); err != nil {
			return err
		}
		if err := r.covered.add(0, r.length); err != nil {
			return err
		}
	}
	return c.complete(handle, r)
}

func (c *conn) structuredReply(k chunk) error {
	r, err := c.lookup(k.handle)
	if err != nil {
		return err
	}
	r.chunks++
	if err := c.payload(r, k); err != nil {
		return err
	}
	if k.flags&replyFlagDone != 0 {
		return c.complete(k.handle, r)
	}
	c.progress()
	return nil
}

// payload reads what follows a chunk's header.
func (c *conn) payload(r *request, k chunk) error {
	switch {
	case k.kind == chunkNone:
		if k.length != 0 || k.flags&replyFlagDone == 0 {
			return protocolError("empty chunk of %d bytes, flags %#x", k.length, k.flags)
		}
		return nil
	case k.kind == chunkOffsetData && r.command == cmdRead:
		return c.dataChunk(r, k)
	case k.kind == chunkOffsetHole && r.command == cmdRead:
		return c.holeChunk(r, k)
	case k.kind == chunkBlockStatus && r.command == cmdBlockStatus:
		return c.statusChunk(r, k)
	case k.kind&chunkError != 0:
		return c.errorChunk(r, k)
	}
	return protocolError("chunk of type %d in a reply to command %d", k.kind, r.command)
}

// dataChunk is offset:64 data.
func (c *conn) dataChunk(r *request, k chunk) error {
	if k.length < 9 {
		return protocolError("data chunk of %d bytes", k.length)
	}
	var h [8]byte
	if err := c.read(h[:]); err != nil {
		return err
	}
	n := k.length - 8
	start, err := r.place(binary.BigEndian.Uint64(h[:]), n)
	if err != nil {
		return err
	}
	return c.readInto(r, int(start), int(n), c.progress)
}

// holeChunk is offset:64 length:32, meaning zeros.
func (c *conn) holeChunk(r *request, k chunk) error {
	if k.length != 12 {
		return protocolError("hole chunk of %d bytes", k.length)
	}
	var h [12]byte
	if err := c.read(h[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(h[8:])
	if n == 0 {
		return protocolError("empty hole chunk")
	}
	start, err := r.place(binary.BigEndian.Uint64(h[:]), n)
	if err != nil {
		return err
	}
	_, err = r.receive(int(start), int(n), func(p []byte) (int, error) { clear(p); return len(p), nil })
	if err == errWithdrawn {
		return nil
	}
	return err
}

// place marks n bytes at an offset of the export as received, and gives their index in the request's buffer.
func (r *request) place(offset uint64, n uint32) (start uint32, err error) {
	if offset < r.offset || offset-r.offset > uint64(r.length) || uint64(n) > uint64(r.length)-(offset-r.offset) {
		return 0, protocolError("chunk of %d bytes at %d in a reply to a read of %d at %d", n, offset, r.length, r.offset)
	}
	start = uint32(offset - r.offset)
	return start, r.covered.add(start, start+n)
}

// errorChunk is errno:32 length:16 message, and offset:64 for ERROR_OFFSET. Unknown kinds start the same.
func (c *conn) errorChunk(r *request, k chunk) error {
	r.refused++
	if k.length < 6 || k.length > 6+maxString+8 || r.refused > maxErrorChunks {
		return protocolError("error chunk %d of %d bytes", r.refused, k.length)
	}
	p := make([]byte, k.length)
	if err := c.read(p); err != nil {
		return err
	}
	errno := binary.BigEndian.Uint32(p)
	message, rest := p[6:], []byte(nil)
	if n := int(binary.BigEndian.Uint16(p[4:])); n <= len(message) {
		message, rest = message[:n], message[n:]
	} else {
		return protocolError("error message of %d bytes in a chunk of %d", n, k.length)
	}
	if errno == 0 {
		return protocolError("error chunk without an error")
	}
	if r.failure != nil {
		return nil
	}
	e := &Error{Errno: syscall.Errno(errno), Message: quote(message), Offset: -1}
	if k.kind == chunkErrorOffset {
		if len(rest) != 8 {
			return protocolError("error chunk with an offset of %d bytes", len(rest))
		}
		if at := binary.BigEndian.Uint64(rest); at <= math.MaxInt64 {
			e.Offset = int64(at)
		}
	}
	r.failure = e
	return nil
}
