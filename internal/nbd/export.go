package nbd

import (
	"encoding/binary"
	"math"
)

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
