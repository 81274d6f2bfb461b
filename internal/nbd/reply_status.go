package nbd

import "encoding/binary"

// statusChunk is context:32 and length:32 flags:32 for each extent.
func (c *conn) statusChunk(r *request, k chunk) error {
	n := (k.length - 4) / 8
	if k.length < 12 || (k.length-4)%8 != 0 || n > maxChunkExtents {
		return protocolError("block status chunk of %d bytes", k.length)
	}
	var h [8]byte
	if err := c.read(h[:4]); err != nil {
		return err
	}
	index, err := c.contextIndex(binary.BigEndian.Uint32(h[:]))
	if err != nil {
		return err
	}
	if r.seen&(1<<index) != 0 {
		return protocolError("two block status chunks of context %q in one reply", c.contexts[index].name)
	}
	r.seen |= 1 << index
	if index != r.context {
		return c.discard(int(n) * 8)
	}
	return c.extents(r, int(n))
}

// extents reads the extents of the wanted context, clipped to the request. Only the last may pass the request's end.
func (c *conn) extents(r *request, n int) error {
	var h [8]byte
	at := uint64(0)
	for range n {
		if err := c.read(h[:]); err != nil {
			return err
		}
		length, flags := uint64(binary.BigEndian.Uint32(h[:])), binary.BigEndian.Uint32(h[4:])
		if length == 0 || at >= uint64(r.length) {
			return protocolError("extent of %d bytes at %d in a reply to block status of %d", length, at, r.length)
		}
		clipped := min(length, uint64(r.length)-at)
		r.extents = appendExtent(r.extents, Extent{int64(r.offset + at), int64(clipped), flags})
		at += length
	}
	return nil
}
