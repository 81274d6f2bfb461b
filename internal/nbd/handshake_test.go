package nbd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// say starts a server that says the same to everyone, then hangs up once the client does.
func say(t testing.TB, script []byte) (network, addr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write(script)
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	return "unix", path
}

func TestWrongHandshakes(t *testing.T) {
	ack := func(opt uint32) []byte { return optReply(opt, repAck, nil) }
	info := func(kind uint16, values ...any) []byte {
		return optReply(optGo, repInfo, append(pack(kind), pack(values...)...))
	}
	context := func(id uint32, name string) []byte {
		return optReply(optSetMetaContext, repMetaContext, pack(id, name))
	}
	opened := append(greeting(), ack(optStructuredReply)...)
	chosen := append(bytes.Clone(opened), ack(optSetMetaContext)...)
	size := info(infoExport, uint64(4096), uint16(1))
	for name, c := range map[string]struct {
		start, script []byte
		want          string
	}{
		"no NBD":           {nil, []byte("SSH-2.0-OpenSSH_10.0p2 Debian\r\n"), `greeting starts with "SSH-2.0-"`},
		"old style":        {nil, pack("NBDMAGIC", uint64(0x420281861253), make([]byte, 140)), "older handshake"},
		"not fixed":        {nil, pack("NBDMAGICIHAVEOPT", uint16(0)), "older handshake"},
		"other option":     {greeting(), ack(optGo), "no reply to option 8"},
		"no magic":         {greeting(), make([]byte, 20), "no reply to option 8"},
		"huge reply":       {greeting(), pack(uint64(magicOptReply), uint32(8), uint32(repAck), uint32(math.MaxUint32)), "reply of 4294967295 bytes"},
		"unasked info":     {greeting(), optReply(optStructuredReply, repInfo, nil), "reply 3 to option 8"},
		"wants TLS":        {greeting(), optReply(optStructuredReply, repErrTLSReqd, []byte("no\x1b")), `TLS required ("no\x1b")`},
		"unasked context":  {opened, append(context(1, "z"), ack(optSetMetaContext)...), "not asked for"},
		"context twice":    {opened, append(context(1, "a"), context(2, "a")...), "granted twice"},
		"same number":      {opened, bytes.Join([][]byte{context(1, "a"), context(1, "b"), ack(optSetMetaContext)}, nil), "under one number"},
		"too many":         {opened, bytes.Join([][]byte{context(1, "a"), context(2, "b"), context(3, "c")}, nil), "unasked"},
		"short context":    {opened, optReply(optSetMetaContext, repMetaContext, []byte{1}), "where a context belongs"},
		"no export":        {chosen, optReply(optGo, repErrUnknown, []byte("nope")), `no such export ("nope")`},
		"no size":          {chosen, ack(optGo), "export without a size"},
		"size above 2^63":  {chosen, info(infoExport, uint64(1<<63), uint16(0)), "export of 9223372036854775808 bytes"},
		"short info":       {chosen, info(infoExport, uint32(1)), "information 0"},
		"tiny info":        {chosen, optReply(optGo, repInfo, []byte{1}), "where information on the export belongs"},
		"zero blocks":      {chosen, bytes.Join([][]byte{size, info(infoBlockSize, []uint32{0, 0, 0}), ack(optGo)}, nil), "block sizes"},
		"odd blocks":       {chosen, bytes.Join([][]byte{size, info(infoBlockSize, []uint32{513, 4096, 1 << 20}), ack(optGo)}, nil), "block sizes"},
		"large blocks":     {chosen, bytes.Join([][]byte{size, info(infoBlockSize, []uint32{1 << 20, 1 << 20, 1 << 20}), ack(optGo)}, nil), "block sizes"},
		"max below min":    {chosen, bytes.Join([][]byte{size, info(infoBlockSize, []uint32{512, 512, 511}), ack(optGo)}, nil), "block sizes"},
		"partial block":    {chosen, bytes.Join([][]byte{size, info(infoBlockSize, []uint32{8192, 8192, 8192}), ack(optGo)}, nil), "no multiple of"},
		"endless info":     {chosen, bytes.Repeat(info(9, "x"), maxOptionReplies+1), "more than 16384 replies"},
		"unknown refusal":  {chosen, optReply(optGo, repError+99, nil), "error 0x80000063"},
		"not even an ack":  {chosen, optReply(optGo, 77, nil), "reply 77 of 0 bytes"},
		"shutting down":    {opened, optReply(optSetMetaContext, repErrShutdown, nil), "shutting down"},
		"long information": {chosen, info(infoName, make([]byte, maxString+1)), "information 1"},
	} {
		t.Run(name, func(t *testing.T) {
			network, addr := say(t, append(bytes.Clone(c.start), c.script...))
			_, err := Dial(t.Context(), network, addr, Options{Contexts: []string{"a", "b"}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), addr) {
				t.Fatalf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestHandshakeEndsWithContext(t *testing.T) {
	network, addr := say(t, greeting())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, network, addr, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := List(ctx, network, addr); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), network, addr, Options{Timeout: 50 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestHandshakeEndsWithServer(t *testing.T) {
	for n := range len(greeting()) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if conn, err := l.Accept(); err == nil {
				conn.Write(greeting()[:n])
				conn.Close()
			}
		}()
		if _, err := Dial(t.Context(), "unix", path, Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(n, err)
		}
		l.Close()
	}
}

func TestOptionsAreChecked(t *testing.T) {
	long := strings.Repeat("x", maxString+1)
	for _, o := range []Options{
		{Export: long}, {Contexts: []string{""}}, {Contexts: []string{long}}, {Contexts: make([]string, 65)},
	} {
		if _, err := Dial(t.Context(), "unix", "/nonexistent", o); err == nil || strings.Contains(err.Error(), "no such file") {
			t.Fatal(err)
		}
	}
	if _, err := DialURI(t.Context(), "nbd://localhost/a", Options{Export: "b"}); err == nil {
		t.Fatal("two exports")
	}
}
