package decompress

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"strings"
	"testing"
)

// lzopFile is a file with one block of ten bytes, stored, whose header says what
// is asked for.
func lzopFile(needed uint16, method byte, flags uint32, block ...uint32) []byte {
	var h bytes.Buffer
	for _, v := range []any{uint16(0x1040), uint16(0x20a0), needed, method, byte(5), flags} {
		_ = binary.Write(&h, binary.BigEndian, v)
	}
	if flags&flagFilter != 0 {
		h.Write(make([]byte, 4))
	}
	h.Write(make([]byte, 12)) // mode, times
	h.WriteString("\x04name")
	out := append([]byte{}, lzopMagic...)
	out = append(out, h.Bytes()...)
	out = binary.BigEndian.AppendUint32(out, adler32.Checksum(h.Bytes()))
	for _, v := range block {
		out = binary.BigEndian.AppendUint32(out, v)
	}
	return out
}

func TestLzopRefused(t *testing.T) {
	for why, file := range map[string][]byte{
		"needs lzop 2.01":             lzopFile(0x2010, 1, 0),
		"one part of an archive of":   lzopFile(0x940, 1, flagMultipart),
		"lzop --filter":               lzopFile(0x940, 1, flagFilter),
		"extra field":                 lzopFile(0x940, 1, flagExtra),
		"method 128":                  lzopFile(0x940, 128, 0),
		"archive that was split":      lzopFile(0x940, 1, 0, splitMark),
		"at most 67108864":            lzopFile(0x940, 1, 0, maxBlock+1),
		"10 bytes is stored in 11":    lzopFile(0x940, 1, 0, 10, 11),
		"10 bytes is stored in 0":     lzopFile(0x940, 1, 0, 10, 0),
		"header does not match":       append(lzopFile(0x940, 1, 0)[:len(lzopFile(0x940, 1, 0))-1], 9),
		"as it is stored, does not m": append(lzopFile(0x940, 1, flagAdler32D, 10, 10, 7), "0123456789"...),
		"is cut off after":            append(lzopFile(0x940, 1, 0, maxBlock, maxBlock), "0123456789"...),
		"lzo: ":                       append(lzopFile(0x940, 1, 0, 10, 9), "\xff\xff\xff\xff\xff\xff\xff\xff\xff"...),
	} {
		_, format, err := all(bytes.NewReader(file))
		if format != Lzop || err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "lzop") {
			t.Errorf("%s: %q, %v", why, format, err)
		}
	}
	good := append(lzopFile(0x940, 3, 0, 10, 10), "0123456789\x00\x00\x00\x00"...)
	if plain, _, err := all(bytes.NewReader(good)); err != nil || string(plain) != "0123456789" {
		t.Errorf("%q, %v", plain, err)
	}
}

func FuzzReader(f *testing.F) {
	small := sampleData[:20<<10]
	for _, ways := range tools {
		f.Add(pipe(f, small, ways[0][0], append(ways[0][1:], "-c")...))
		f.Add(pipe(f, nil, ways[0][0], append(ways[0][1:], "-c")...))
	}
	f.Add(pipe(f, small, "lzop", "-9", "--no-checksum", "-c"))
	f.Add(lzopFile(0x940, 1, 0, 10, 10))
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, format, err := all(bytes.NewReader(data))
		if format == Plain && (err != nil || !bytes.Equal(plain, data)) {
			t.Errorf("plain data: %d bytes of %d, %v", len(plain), len(data), err)
		}
	})
}
