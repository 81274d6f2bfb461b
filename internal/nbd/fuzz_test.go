package nbd

import (
	"bytes"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// feed gives a wire whose server has said all of script and then hung up.
func feed(t *testing.T, script []byte) *wire {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		ends[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		ends[1].Write(script)
		ends[1].(*net.UnixConn).CloseWrite()
		io.Copy(io.Discard, ends[1])
	}()
	t.Cleanup(func() { ends[0].Close(); ends[1].Close() })
	w, err := newWire(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// bounded fails if f allocates more than a server's words may make us, or hangs.
func bounded(t *testing.T, f func()) {
	defer time.AfterFunc(20*time.Second, func() { panic("hang") }).Stop()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Fatalf("%d bytes allocated", n)
	}
}

// FuzzReplies feeds bytes to a connection that has three requests in flight, of handles 1 to 3. Nothing may panic,
// hang or allocate much, and a read that succeeds must have all its bytes from the server: the same, whatever the
// buffer held before.
func FuzzReplies(f *testing.F) {
	read := func(h uint64) []byte {
		return append(chunkBytes(false, chunkOffsetHole, h, uint64(4096), uint32(100)),
			chunkBytes(true, chunkOffsetData, h, uint64(4196), bytes.Repeat([]byte{9}, 412))...)
	}
	f.Add(true, append(read(1), chunkBytes(true, chunkBlockStatus, 3, uint32(7), []uint32{100, 1, 412, 0})...))
	f.Add(true, append(chunkBytes(true, chunkErrorOffset, 2, uint32(5), uint16(2), "no", uint64(4100)), read(1)...))
	f.Add(true, chunkBytes(true, chunkError+1, 1, uint32(5), uint16(2), "no"))
	f.Add(false, append(simpleBytes(0, 2, make([]byte, 512)), simpleBytes(5, 1, nil)...))
	f.Add(false, read(1))
	f.Fuzz(func(t *testing.T, structured bool, script []byte) {
		bounded(t, func() {
			first := replay(t, structured, script, 0x11)
			second := replay(t, structured, script, 0x22)
			for i := range first {
				if first[i] != nil && second[i] != nil && !bytes.Equal(first[i], second[i]) {
					t.Fatalf("read %d gave bytes that the server did not send", i)
				}
			}
		})
	})
}

// replay gives the buffers of the two reads, nil where one failed.
func replay(t *testing.T, structured bool, script []byte, fill byte) (reads [2][]byte) {
	s := session{structured: structured, contexts: []metaContext{{"a", 7}, {"b", 8}}}
	w := feed(t, script)
	c := &conn{
		wire: w, session: s,
		slots: make(chan struct{}, inFlight), ended: make(chan struct{}), pending: make(map[uint64]*request),
	}
	requests := []*request{
		{command: cmdRead, offset: 4096, length: 512, buf: bytes.Repeat([]byte{fill}, 512)},
		{command: cmdRead, offset: 4096, length: 512, buf: bytes.Repeat([]byte{fill}, 512)},
		{command: cmdBlockStatus, offset: 4096, length: 512},
	}
	for _, r := range requests {
		c.slots <- struct{}{}
		r.done = make(chan struct{})
		if _, err := c.register(r); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(c.run)
	for i, r := range requests {
		<-r.done
		if r.err == nil && i < len(reads) {
			reads[i] = bytes.Clone(r.buf)
		}
	}
	c.close()
	wg.Wait()
	if len(c.slots) != 0 {
		t.Fatalf("%d requests still hold their place", len(c.slots))
	}
	if r := requests[2]; r.err == nil {
		checkExtents(t, r)
	}
	return reads
}

func checkExtents(t *testing.T, r *request) {
	at := int64(r.offset)
	for _, e := range r.extents {
		if e.Offset != at || e.Length <= 0 {
			t.Fatalf("extents %v", r.extents)
		}
		at += e.Length
	}
	if at > int64(r.offset)+int64(r.length) || len(r.extents) == 0 {
		t.Fatalf("extents %v", r.extents)
	}
}

// FuzzHandshake feeds bytes to the handshake and to a listing.
func FuzzHandshake(f *testing.F) {
	ack := func(opt uint32) []byte { return optReply(opt, repAck, nil) }
	export := pack(uint16(infoExport), uint64(4096), uint16(3))
	f.Add(bytes.Join([][]byte{
		greeting(), ack(optStructuredReply), optReply(optSetMetaContext, repMetaContext, pack(uint32(7), "a")), ack(optSetMetaContext),
		optReply(optGo, repInfo, export), optReply(optGo, repInfo, pack(uint16(infoBlockSize), []uint32{512, 4096, 1 << 25})), ack(optGo),
	}, nil))
	f.Add(bytes.Join([][]byte{
		greeting(), ack(optStructuredReply), optReply(optList, repServer, pack(uint32(1), "a")), ack(optList),
		optReply(optInfo, repInfo, export), optReply(optInfo, repInfo, pack(uint16(infoDescription), "d")), ack(optInfo),
		optReply(optListMetaContext, repMetaContext, pack(uint32(7), "a")), ack(optListMetaContext), ack(optAbort),
	}, nil))
	f.Add(append(greeting(), optReply(optStructuredReply, repErrTLSReqd, []byte("no"))...))
	f.Fuzz(func(t *testing.T, script []byte) {
		bounded(t, func() {
			w := feed(t, script)
			if w.greet() == nil {
				if s, err := w.open("", []string{"a", "b"}); err == nil {
					checkSession(t, s)
				}
			}
			w = feed(t, script)
			if w.greet() == nil {
				w.exports()
			}
		})
	})
}

func checkSession(t *testing.T, s session) {
	e := s.export
	if e.size < 0 || e.minBlock == 0 || e.size%int64(e.minBlock) != 0 || e.maxBlock > maxRead || e.maxBlock%e.minBlock != 0 || e.maxBlock == 0 {
		t.Fatalf("%+v", s)
	}
	if !s.structured && len(s.contexts) > 0 {
		t.Fatalf("%+v", s)
	}
}
