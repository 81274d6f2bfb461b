package nbd

import (
	"bytes"
	"math"
	"net"
	"strings"
	"testing"
)

// answer starts a fake that answers the first request with reply(handle), and gives a client of it.
func answer(t *testing.T, f fake, reply func(handle uint64) []byte) *Client {
	t.Helper()
	f.serve = func(_ int, conn net.Conn) {
		for {
			r, ok := next(conn)
			if !ok {
				return
			}
			conn.Write(reply(r.Handle))
		}
	}
	return dialFake(t, &f, Options{Contexts: []string{"a", "b"}})
}

func dialFake(t testing.TB, f *fake, o Options) *Client {
	t.Helper()
	network, addr := f.start(t)
	c, err := Dial(t.Context(), network, addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestWrongReadReplies asks for 100 bytes at 1000.
func TestWrongReadReplies(t *testing.T) {
	data := func(done bool, h uint64, at, n int) []byte {
		return chunkBytes(done, chunkOffsetData, h, uint64(at), make([]byte, n))
	}
	hole := func(done bool, h uint64, at, n int) []byte {
		return chunkBytes(done, chunkOffsetHole, h, uint64(at), uint32(n))
	}
	cat := func(b ...[]byte) []byte { return bytes.Join(b, nil) }
	for name, c := range map[string]struct {
		reply func(h uint64) []byte
		want  string
	}{
		"no data at all":     {func(h uint64) []byte { return chunkBytes(true, chunkNone, h) }, "leaves bytes out from 0"},
		"tail left out":      {func(h uint64) []byte { return data(true, h, 1000, 99) }, "leaves bytes out from 99"},
		"head left out":      {func(h uint64) []byte { return data(true, h, 1001, 99) }, "leaves bytes out from 0"},
		"middle left out":    {func(h uint64) []byte { return cat(data(false, h, 1000, 40), hole(true, h, 1060, 40)) }, "leaves bytes out from 40"},
		"data twice":         {func(h uint64) []byte { return cat(data(false, h, 1000, 100), data(true, h, 1000, 100)) }, "overlap"},
		"hole over data":     {func(h uint64) []byte { return cat(data(false, h, 1050, 50), hole(true, h, 1000, 51)) }, "overlap at 50"},
		"before the request": {func(h uint64) []byte { return data(true, h, 999, 100) }, "in a reply to a read"},
		"past the request":   {func(h uint64) []byte { return data(true, h, 1001, 100) }, "in a reply to a read"},
		"offset wraps": {func(h uint64) []byte {
			return chunkBytes(true, chunkOffsetHole, h, uint64(math.MaxUint64-50), uint32(100))
		}, "in a reply to a read"},
		"hole of 4 GiB": {func(h uint64) []byte { return hole(true, h, 1000, math.MaxUint32) }, "in a reply to a read"},
		"empty data":    {func(h uint64) []byte { return data(true, h, 1000, 0) }, "data chunk of 8 bytes"},
		"empty hole":    {func(h uint64) []byte { return hole(true, h, 1000, 0) }, "empty hole"},
		"4 GiB of data": {func(h uint64) []byte {
			return pack(uint32(magicStructured), uint16(1), uint16(1), h, uint32(math.MaxUint32), uint64(1000))
		}, "in a reply to a read"},
		"none, not done":     {func(h uint64) []byte { return chunkBytes(false, chunkNone, h) }, "empty chunk"},
		"none with payload":  {func(h uint64) []byte { return chunkBytes(true, chunkNone, h, uint32(0)) }, "empty chunk"},
		"block status":       {func(h uint64) []byte { return chunkBytes(true, chunkBlockStatus, h, uint32(1), uint32(100), uint32(0)) }, "chunk of type 5"},
		"unknown chunk":      {func(h uint64) []byte { return chunkBytes(true, 77, h) }, "chunk of type 77"},
		"simple":             {func(h uint64) []byte { return simpleBytes(0, h, make([]byte, 100)) }, "simple reply"},
		"simple after chunk": {func(h uint64) []byte { return cat(hole(false, h, 1000, 9), simpleBytes(5, h, nil)) }, "simple reply after"},
		"unknown handle":     {func(h uint64) []byte { return data(true, h+1, 1000, 100) }, "not in flight"},
		"after done": {func(h uint64) []byte {
			return cat(chunkBytes(true, chunkError+9, h, uint32(5), uint16(0)), hole(true, h, 1000, 100))
		}, "input/output error"},
		"magic":             {func(h uint64) []byte { return make([]byte, 16) }, "reply starts with 0x0"},
		"error without one": {func(h uint64) []byte { return chunkBytes(true, chunkError+1, h, uint32(0), uint16(0)) }, "without an error"},
		"error cut short":   {func(h uint64) []byte { return chunkBytes(true, chunkError+1, h, uint32(5)) }, "error chunk 1 of 4 bytes"},
		"long message":      {func(h uint64) []byte { return chunkBytes(true, chunkError+1, h, uint32(5), uint16(9), "short") }, "message of 9 bytes"},
		"no error offset":   {func(h uint64) []byte { return chunkBytes(true, chunkErrorOffset, h, uint32(5), uint16(0)) }, "offset of 0 bytes"},
		"endless errors": {func(h uint64) []byte {
			return bytes.Repeat(chunkBytes(false, chunkError+1, h, uint32(5), uint16(0)), 1000)
		}, "error chunk 65"},
	} {
		t.Run(name, func(t *testing.T) {
			client := answer(t, fake{size: 1 << 20}, c.reply)
			err := client.ReadAt(t.Context(), make([]byte, 100), 1000)
			if err == nil || !strings.Contains(err.Error(), client.name) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestWrongBlockStatus asks context a (number 7) for 100 bytes at 0; context b is number 8.
func TestWrongBlockStatus(t *testing.T) {
	status := func(done bool, h uint64, id uint32, extents ...uint32) []byte {
		return chunkBytes(done, chunkBlockStatus, h, id, extents)
	}
	for name, c := range map[string]struct {
		reply func(h uint64) []byte
		want  string
	}{
		"no context":       {func(h uint64) []byte { return chunkBytes(true, chunkNone, h) }, "lacks the context"},
		"other context":    {func(h uint64) []byte { return status(true, h, 8, 100, 0) }, "lacks the context"},
		"unknown context":  {func(h uint64) []byte { return status(true, h, 9, 100, 0) }, "context 9, which was not agreed on"},
		"context twice":    {func(h uint64) []byte { return append(status(false, h, 7, 100, 0), status(true, h, 7, 100, 0)...) }, "two block status chunks"},
		"no extents":       {func(h uint64) []byte { return status(true, h, 7) }, "block status chunk of 4 bytes"},
		"half an extent":   {func(h uint64) []byte { return status(true, h, 7, 100) }, "block status chunk of 8 bytes"},
		"less than a name": {func(h uint64) []byte { return chunkBytes(true, chunkBlockStatus, h, uint16(1)) }, "block status chunk of 2 bytes"},
		"empty extent":     {func(h uint64) []byte { return status(true, h, 7, 0, 0) }, "extent of 0 bytes"},
		"extent past end":  {func(h uint64) []byte { return status(true, h, 7, 100, 0, 1, 1) }, "extent of 1 bytes at 100"},
		"4 GiB of extents": {func(h uint64) []byte {
			return pack(uint32(magicStructured), uint16(1), uint16(chunkBlockStatus), h, uint32(math.MaxUint32&^7|4))
		}, "block status chunk of"},
		"data":   {func(h uint64) []byte { return chunkBytes(true, chunkOffsetData, h, uint64(0), make([]byte, 100)) }, "chunk of type 1"},
		"simple": {func(h uint64) []byte { return simpleBytes(0, h, nil) }, "simple reply"},
	} {
		t.Run(name, func(t *testing.T) {
			client := answer(t, fake{size: 1 << 20, contexts: []metaContext{{"b", 8}, {"a", 7}}}, c.reply)
			_, err := client.BlockStatus(t.Context(), "a", 0, 100)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
		})
	}
}
