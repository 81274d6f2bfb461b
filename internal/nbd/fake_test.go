package nbd

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// fake is a server whose handshake is right and whose replies are the test's.
type fake struct {
	size     uint64
	flags    uint16
	simple   bool   // no structured replies
	blocks   []byte // INFO_BLOCK_SIZE's data, nil for none
	contexts []metaContext
	full     int                        // connections that are answered at all; 0 is any number
	grow     bool                       // each connection sees a longer disk
	serve    func(n int, conn net.Conn) // transmission phase of connection n
}

type wireRequest struct {
	Magic          uint32
	Flags, Type    uint16
	Handle, Offset uint64
	Length         uint32
}

// start listens on a unix socket; all is gone at the test's end.
func (f *fake) start(t testing.TB) (network, addr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if f.full > 0 && n >= f.full {
					next(conn)
					return
				}
				if f.handshake(n, conn) {
					f.serve(n, conn)
				}
			})
		}
	})
	return "unix", path
}

func pack(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if s, ok := v.(string); ok {
			b.WriteString(s)
			continue
		}
		if err := binary.Write(&b, binary.BigEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func optReply(opt, kind uint32, data []byte) []byte {
	return pack(uint64(magicOptReply), opt, kind, uint32(len(data)), data)
}

func greeting() []byte {
	return pack("NBDMAGICIHAVEOPT", uint16(flagFixedNewstyle|flagNoZeroes))
}

// handshake reports whether the client opened the export.
func (f *fake) handshake(n int, conn net.Conn) bool {
	size := f.size
	if f.grow {
		size += uint64(n)
	}
	conn.Write(greeting())
	io.CopyN(io.Discard, conn, 4)
	for {
		var h struct {
			Magic       uint64
			Opt, Length uint32
		}
		if binary.Read(conn, binary.BigEndian, &h) != nil {
			return false
		}
		io.CopyN(io.Discard, conn, int64(h.Length))
		switch {
		case h.Opt == optStructuredReply && f.simple:
			conn.Write(optReply(h.Opt, repErrUnsup, nil))
			continue
		case h.Opt == optSetMetaContext:
			for _, m := range f.contexts {
				conn.Write(optReply(h.Opt, repMetaContext, pack(m.id, m.name)))
			}
		case h.Opt == optGo:
			conn.Write(optReply(h.Opt, repInfo, pack(uint16(infoExport), size, f.flags)))
			if f.blocks != nil {
				conn.Write(optReply(h.Opt, repInfo, pack(uint16(infoBlockSize), f.blocks)))
			}
			conn.Write(optReply(h.Opt, repAck, nil))
			return true
		}
		conn.Write(optReply(h.Opt, repAck, nil))
	}
}

// next reads one request; false at the connection's end or a DISC.
func next(conn net.Conn) (r wireRequest, ok bool) {
	err := binary.Read(conn, binary.BigEndian, &r)
	return r, err == nil && r.Type != cmdDisc
}

func simpleBytes(errno uint32, handle uint64, data []byte) []byte {
	return pack(uint32(magicSimple), errno, handle, data)
}

func chunkBytes(done bool, kind uint16, handle uint64, payload ...any) []byte {
	p := pack(payload...)
	flags := uint16(0)
	if done {
		flags = replyFlagDone
	}
	return pack(uint32(magicStructured), flags, kind, handle, uint32(len(p)), p)
}
