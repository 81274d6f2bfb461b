package nbd

import (
	"bytes"
	"errors"
	"math"
	"net"
	"slices"
	"syscall"
	"testing"
)

// TestBlockStatusLoops has a server that answers at most two extents a time, in two contexts, the last of them
// longer than what was asked for.
func TestBlockStatusLoops(t *testing.T) {
	f := fake{size: 1 << 20, contexts: []metaContext{{"a", 7}, {"b", 8}}}
	f.serve = func(_ int, conn net.Conn) {
		for {
			r, ok := next(conn)
			if !ok {
				return
			}
			flags := uint32(r.Offset/4096) % 4 / 2 // 0 0 1 1 0 0 1 1 … a page
			conn.Write(chunkBytes(false, chunkBlockStatus, r.Handle, uint32(8), uint32(1<<20), uint32(9)))
			first := uint32(4096 - r.Offset%4096)
			extents := []uint32{first, flags}
			if r.Length > first && r.Flags&cmdFlagReqOne == 0 {
				extents = append(extents, 4096, uint32((r.Offset+4096)/4096)%4/2)
			}
			conn.Write(chunkBytes(true, chunkBlockStatus, r.Handle, uint32(7), extents))
		}
	}
	c := dialFake(t, &f, Options{Contexts: []string{"a", "b", "c"}})
	if got := c.Contexts(); len(got) != 2 || got[0] != "a" || got[1] != "b" {
		t.Fatal(got)
	}
	got, err := c.BlockStatus(t.Context(), "a", 100, 5*4096)
	want := []Extent{{100, 8092, 0}, {8192, 8192, 1}, {16384, 4196, 0}}
	if err != nil || !slices.Equal(got, want) {
		t.Fatal(got, err)
	}
	if got, err := c.BlockStatus(t.Context(), "b", 1<<20-5, 5); err != nil || !slices.Equal(got, []Extent{{1<<20 - 5, 5, 9}}) {
		t.Fatal(got, err)
	}
	if got, err := c.FirstExtent(t.Context(), "a", 100, 5*4096); err != nil || got != (Extent{100, 3996, 0}) {
		t.Fatal(got, err)
	}
	if _, err := c.BlockStatus(t.Context(), "c", 0, 1); err == nil {
		t.Fatal("a context that was not granted")
	}
	if _, err := c.FirstExtent(t.Context(), "a", 0, 0); err == nil {
		t.Fatal("the first extent of nothing")
	}
	if got, err := c.BlockStatus(t.Context(), "a", 1<<20, 0); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
}

// TestDataSkipsOnlyZeros: a hole that is not said to be zero has to be read.
func TestDataSkipsOnlyZeros(t *testing.T) {
	reply := func(h uint64) []byte {
		return chunkBytes(true, chunkBlockStatus, h, uint32(1), []uint32{
			10, 0, 10, AllocationHole, 10, AllocationZero, 10, AllocationHole | AllocationZero, 10, AllocationHole, 10, 0, 10, 3,
		})
	}
	f := fake{size: 70, contexts: []metaContext{{ContextAllocation, 1}}}
	f.serve = func(_ int, conn net.Conn) {
		for r, ok := next(conn); ok; r, ok = next(conn) {
			conn.Write(reply(r.Handle))
		}
	}
	c := dialFake(t, &f, Options{Contexts: []string{ContextAllocation}})
	got, err := c.Data(t.Context(), 0, 70)
	if err != nil || !slices.Equal(got, []Extent{{0, 20, 0}, {40, 20, 0}}) {
		t.Fatal(got, err)
	}
	plain := answer(t, fake{size: 70}, reply)
	got, err = plain.Data(t.Context(), 5, 65)
	if err != nil || !slices.Equal(got, []Extent{{5, 65, 0}}) {
		t.Fatal(got, err)
	}
	if got, err = plain.Data(t.Context(), 5, 0); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	if _, err = plain.Data(t.Context(), 5, 66); err == nil {
		t.Fatal("data past the end")
	}
}

// TestRefusalKeepsConnection: errors of the server in each form; the connection answers the next request.
func TestRefusalKeepsConnection(t *testing.T) {
	for name, c := range map[string]struct {
		simple bool
		reply  func(h uint64) []byte
		want   Error
	}{
		"structured": {false, func(h uint64) []byte {
			return chunkBytes(true, chunkError+1, h, uint32(5), uint16(5), "no\nit")
		}, Error{syscall.EIO, `"no\nit"`, -1}},
		"with offset, after data, before a hole": {false, func(h uint64) []byte {
			return bytes.Join([][]byte{
				chunkBytes(false, chunkOffsetData, h, uint64(0), make([]byte, 50)),
				chunkBytes(false, chunkErrorOffset, h, uint32(28), uint16(3), "why", uint64(50)),
				chunkBytes(false, chunkError+1, h, uint32(5), uint16(0)),
				chunkBytes(true, chunkOffsetHole, h, uint64(60), uint32(40)),
			}, nil)
		}, Error{syscall.ENOSPC, `"why"`, 50}},
		"simple":                  {true, func(h uint64) []byte { return simpleBytes(22, h, nil) }, Error{syscall.EINVAL, "", -1}},
		"simple among structured": {false, func(h uint64) []byte { return simpleBytes(22, h, nil) }, Error{syscall.EINVAL, "", -1}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fake{size: 100, simple: c.simple}
			f.serve = func(_ int, conn net.Conn) {
				r, _ := next(conn)
				conn.Write(c.reply(r.Handle))
				for r, ok := next(conn); ok; r, ok = next(conn) {
					if c.simple {
						conn.Write(simpleBytes(0, r.Handle, bytes.Repeat([]byte{7}, 100)))
						continue
					}
					conn.Write(chunkBytes(false, chunkOffsetData, r.Handle, uint64(40), bytes.Repeat([]byte{7}, 60)))
					conn.Write(chunkBytes(false, chunkOffsetHole, r.Handle, uint64(0), uint32(40)))
					conn.Write(chunkBytes(true, chunkNone, r.Handle))
				}
			}
			client := dialFake(t, &f, Options{})
			p := bytes.Repeat([]byte{0xee}, 100)
			err := client.ReadAt(t.Context(), p, 0)
			var refusal *Error
			if !errors.As(err, &refusal) || *refusal != c.want || !errors.Is(err, c.want.Errno) {
				t.Fatalf("%#v, want %#v", refusal, c.want)
			}
			if err := client.ReadAt(t.Context(), p, 0); err != nil {
				t.Fatal(err)
			}
			if want := byte(7); p[99] != want || !c.simple && p[0] != 0 {
				t.Fatalf("%x", p)
			}
		})
	}
}

// TestBlockSizes has a server that takes whole blocks of 4096 bytes only, at most two a request.
func TestBlockSizes(t *testing.T) {
	content := make([]byte, 10*4096)
	for i := range content {
		content[i] = byte(i / 7)
	}
	f := fake{size: uint64(len(content)), simple: true, blocks: pack(uint32(4096), uint32(4096), uint32(2*4096))}
	f.serve = func(_ int, conn net.Conn) {
		for r, ok := next(conn); ok; r, ok = next(conn) {
			if r.Offset%4096 != 0 || r.Length%4096 != 0 || r.Length > 2*4096 || r.Length == 0 {
				conn.Write(simpleBytes(22, r.Handle, nil))
				continue
			}
			conn.Write(simpleBytes(0, r.Handle, content[r.Offset:][:r.Length]))
		}
	}
	c := dialFake(t, &f, Options{})
	for _, r := range [][2]int{{0, len(content)}, {1, 4094}, {4095, 2}, {4096, 4096}, {5000, 30000}, {8192, 4097}, {40959, 1}, {40960, 0}} {
		p := make([]byte, r[1])
		if err := c.ReadAt(t.Context(), p, int64(r[0])); err != nil || !bytes.Equal(p, content[r[0]:r[0]+r[1]]) {
			t.Fatalf("%v: %v", r, err)
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {40960, 1}, {40961, 0}, {math.MaxInt64, 10}} {
		if err := c.ReadAt(t.Context(), make([]byte, r[1]), r[0]); err == nil {
			t.Fatalf("%v was read", r)
		}
	}
}
