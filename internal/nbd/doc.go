// Package nbd is a read-only client of the Network Block Device protocol: fixed newstyle handshake, structured
// replies, block status, several requests in flight on each of several connections.
//
// The protocol is https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md; the names of its constants are
// kept without their NBD_ prefix. All integers on the wire are big-endian.
//
//	handshake   server: "NBDMAGIC" "IHAVEOPT" flags:16          client: flags:32
//	option      client: "IHAVEOPT" option:32 length:32 data     server: replies of this option, the last ACK or an error
//	            server: 0x3e889045565a9:64 option:32 type:32 length:32 data
//	request     0x25609513:32 flags:16 type:16 handle:64 offset:64 length:32
//	simple      0x67446698:32 error:32 handle:64                data of a read follows when error is 0
//	structured  0x668e33ef:32 flags:16 type:16 handle:64 length:32 payload; the chunk flagged DONE ends the reply
//
// # What the server says is not believed
//
// Every length and count is bounded before anything is allocated for it. A read succeeds only if its chunks cover
// each byte of the request exactly once. A reply that breaks the protocol ends its connection, since nothing that
// follows it can be framed with confidence.
//
// # Goroutines and buffers
//
// A connection has one goroutine, which reads all replies; requests are written by their callers. That goroutine
// reads the payload of a reply straight into the caller's buffer, but only inside a non-blocking read(2) that it does
// while holding the request's lock. A caller that gives up takes the same lock to withdraw its buffer. So giving up
// never waits for the network (at most for one copy out of the socket's buffer), nothing is written to the buffer
// once the call has returned, and the rest of the reply is read and dropped: the connection stays usable. The
// request keeps its place among the requests in flight until the server has answered it.
package nbd
