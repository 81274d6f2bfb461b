package format

import (
	"slices"

	"github.com/DataDog/zstd"
	"vaultfs/chunk"
	"vaultfs/repo/seal"
)

// A stored chunk is its payload, sealed: one byte that tells the encoding,
// then the chunk as it is or as one zstd frame (RFC 8878).
const (
	payloadRaw  = 0
	payloadZstd = 1
)

// MaxPayload bounds the length of a stored chunk, in bytes.
const MaxPayload = 1 + chunk.MaxSize + seal.Overhead

// Levels of libzstd. On real guests' chunks the first takes half of the time that
// the fastest level in pure Go takes, and stores 3 % less. The files of a Debian
// system take twice its time at the second, and 6 % less room.
const (
	fastLevel  = 1
	smallLevel = 3
)

// Payload appends the payload of a chunk to dst, compressed if that makes it
// smaller.
func Payload(dst, plain []byte) []byte { return payload(dst, plain, fastLevel) }

// SmallPayload is Payload with more effort to make it small: for files and
// dumps, which compress better than guests' disks, and are mostly read more slowly.
func SmallPayload(dst, plain []byte) []byte { return payload(dst, plain, smallLevel) }

func payload(dst, plain []byte, level int) []byte {
	if looksRandom(plain) {
		return append(append(slices.Grow(dst, 1+len(plain)), payloadRaw), plain...)
	}
	c := takeContext()
	defer returnContext(c)
	start := len(dst)
	dst = append(slices.Grow(dst, 1+zstd.CompressBound(len(plain))), payloadZstd)
	frame, err := c.CompressLevel(dst[len(dst):], plain, level)
	if err != nil || len(frame) >= len(plain) {
		return append(append(dst[:start], payloadRaw), plain...)
	}
	return dst[:len(dst)+len(frame)]
}

// OpenPayload decodes a payload to exactly size bytes, in dst when it has the
// room. The result never shares memory with payload.
func OpenPayload(dst, payload []byte, size int) ([]byte, error) {
	if size > chunk.MaxSize || len(payload) == 0 {
		return nil, damaged("payload of %d bytes for a chunk of %d", len(payload), size)
	}
	switch body := payload[1:]; payload[0] {
	case payloadRaw:
		if len(body) != size {
			return nil, damaged("chunk of %d bytes, want %d", len(body), size)
		}
		return append(dst[:0], body...), nil
	case payloadZstd:
		return decompress(dst, body, size)
	}
	return nil, damaged("payload encoding %d", payload[0])
}

// decompress decodes frames to exactly size bytes, in dst when it has the room.
func decompress(dst, frames []byte, size int) ([]byte, error) {
	if size <= 0 || len(frames) == 0 {
		return nil, damaged("%d bytes of zstd for a chunk of %d", len(frames), size)
	}
	if cap(dst) < size {
		dst = make([]byte, size)
	}
	c := takeContext()
	defer returnContext(c)
	n, err := c.DecompressInto(dst[:size], frames)
	if err != nil {
		return nil, damaged("zstd: %v", err)
	}
	if n != size {
		return nil, damaged("chunk of %d bytes, want %d", n, size)
	}
	return dst[:size], nil
}
