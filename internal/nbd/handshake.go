package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// session is what a handshake agreed on.
type session struct {
	structured bool
	contexts   []metaContext // granted, in the order they were asked for
	export     exportInfo
}

// metaContext is a context that the server granted, and the number it gave it.
type metaContext struct {
	name string
	id   uint32
}

// equal reports whether two connections see the same disk in the same way.
func (s *session) equal(t *session) bool {
	return s.structured == t.structured && slices.Equal(s.contexts, t.contexts) && s.export == t.export
}

// contextIndex finds a context by the server's number.
func (s *session) contextIndex(id uint32) (int, error) {
	for i, m := range s.contexts {
		if m.id == id {
			return i, nil
		}
	}
	return 0, protocolError("block status of context %d, which was not agreed on", id)
}

// greet does the first exchange, up to where options are haggled over.
func (w *wire) greet() error {
	var h [18]byte
	if err := w.read(h[:]); err != nil {
		return fmt.Errorf("greeting: %w", eof(err))
	}
	if binary.BigEndian.Uint64(h[:]) != magicServer {
		return protocolError("greeting starts with %s: no NBD server", quote(h[:8]))
	}
	flags := binary.BigEndian.Uint16(h[16:])
	if binary.BigEndian.Uint64(h[8:]) != magicOption || flags&flagFixedNewstyle == 0 {
		return errors.New("server speaks an older handshake than fixed newstyle")
	}
	reply := binary.BigEndian.AppendUint32(nil, uint32(flags)&(flagFixedNewstyle|flagNoZeroes))
	_, err := w.conn.Write(reply)
	return err
}

// open haggles for structured replies, contexts and the export. After it the connection takes requests.
func (w *wire) open(export string, contexts []string) (session, error) {
	var s session
	var err error
	if s.structured, err = w.structuredReplies(); err != nil {
		return s, err
	}
	if s.structured && len(contexts) > 0 {
		if s.contexts, err = w.setContexts(export, contexts); err != nil {
			return s, err
		}
	}
	s.export, err = w.exportInfo(optGo, export)
	return s, err
}

// structuredReplies reports whether the server agreed to them.
func (w *wire) structuredReplies() (bool, error) {
	err := w.option(optStructuredReply, nil, nil)
	if isOptionError(err, repErrUnsup, repErrPolicy, repErrInvalid, repErrPlatform) {
		return false, nil
	}
	return err == nil, err
}

// setContexts asks for contexts by their exact names, and gives those that were granted. An unknown export is no
// error here: the option that opens it says so in better words.
func (w *wire) setContexts(export string, names []string) ([]metaContext, error) {
	granted := make(map[string]uint32)
	err := w.option(optSetMetaContext, contextQuery(export, names), func(reply uint32, p []byte) error {
		name, id, err := parseContext(reply, p)
		if err != nil {
			return err
		}
		if _, twice := granted[name]; twice || len(granted) == len(names) {
			return protocolError("context %s granted twice or unasked", quote([]byte(name)))
		}
		granted[name] = id
		return nil
	})
	if isOptionError(err, repErrUnsup, repErrPolicy, repErrInvalid, repErrPlatform, repErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var contexts []metaContext
	ids := make(map[uint32]bool)
	for _, name := range names {
		if id, ok := granted[name]; ok {
			contexts = append(contexts, metaContext{name, id})
			ids[id] = true
			delete(granted, name)
		}
	}
	if len(granted) > 0 || len(ids) != len(contexts) {
		return nil, protocolError("contexts granted that were not asked for, or two under one number")
	}
	return contexts, nil
}

// contextQuery encodes the data of LIST_META_CONTEXT and SET_META_CONTEXT.
func contextQuery(export string, names []string) []byte {
	q := appendString(nil, export)
	q = binary.BigEndian.AppendUint32(q, uint32(len(names)))
	for _, name := range names {
		q = appendString(q, name)
	}
	return q
}

// parseContext decodes a REP_META_CONTEXT: id:32 name.
func parseContext(reply uint32, p []byte) (name string, id uint32, err error) {
	if reply != repMetaContext || len(p) < 4 || len(p) > 4+maxString {
		return "", 0, protocolError("reply %d of %d bytes where a context belongs", reply, len(p))
	}
	return string(p[4:]), binary.BigEndian.Uint32(p), nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// exportInfo is what INFO or GO tell about an export.
type exportInfo struct {
	size        int64
	flags       uint16
	name        string // canonical, "" when the server does not say
	description string
	minBlock    uint32
	maxBlock    uint32 // longest read in bytes, a multiple of minBlock
}

// exportInfo asks for an export's information (INFO) or opens it too (GO).
func (w *wire) exportInfo(opt uint32, export string) (exportInfo, error) {
	q := appendString(nil, export)
	q = binary.BigEndian.AppendUint16(q, 3)
	for _, kind := range []uint16{infoName, infoDescription, infoBlockSize} {
		q = binary.BigEndian.AppendUint16(q, kind)
	}
	info := exportInfo{size: -1, minBlock: 1, maxBlock: maxRead}
	err := w.option(opt, q, func(reply uint32, p []byte) error {
		if reply != repInfo || len(p) < 2 {
			return protocolError("reply %d of %d bytes where information on the export belongs", reply, len(p))
		}
		return info.parse(binary.BigEndian.Uint16(p), p[2:])
	})
	if err != nil {
		return info, err
	}
	return info, info.validate()
}

// parse takes one piece of information; unknown kinds are ignored, as the protocol wants.
func (info *exportInfo) parse(kind uint16, p []byte) error {
	want := map[uint16]int{infoExport: 10, infoBlockSize: 12}
	if n, fixed := want[kind]; fixed && len(p) != n || len(p) > maxString {
		return protocolError("information %d on the export of %d bytes", kind, len(p))
	}
	switch kind {
	case infoExport:
		size := binary.BigEndian.Uint64(p)
		if size > math.MaxInt64 {
			return protocolError("export of %d bytes", size)
		}
		info.size, info.flags = int64(size), binary.BigEndian.Uint16(p[8:])
	case infoName:
		info.name = string(p)
	case infoDescription:
		info.description = string(p)
	case infoBlockSize:
		info.minBlock, info.maxBlock = binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[8:])
	}
	return nil
}

// validate checks what must hold once all pieces are there, and settles the longest read.
func (info *exportInfo) validate() error {
	if info.size < 0 {
		return protocolError("export without a size")
	}
	b := info.minBlock
	if b == 0 || b > maxBlockSize || b&(b-1) != 0 || info.maxBlock < b {
		return protocolError("block sizes from %d to %d", b, info.maxBlock)
	}
	if info.size%int64(b) != 0 {
		return protocolError("size %d is no multiple of the minimum block size %d", info.size, b)
	}
	info.maxBlock = min(info.maxBlock, maxRead)
	info.maxBlock -= info.maxBlock % b
	return nil
}
