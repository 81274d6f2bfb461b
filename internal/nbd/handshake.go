package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
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
