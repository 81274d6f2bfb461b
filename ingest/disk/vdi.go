package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The header of a VDI image, little-endian: offset of the block map at 340 and
// of the blocks at 344, size of the disk at 368 in 8 bytes, of a block at 376, and
// number of blocks at 384. An entry of the map is the number of the block in the
// file (VirtualBox's src/VBox/Storage/VDICore.h).
const (
	vdiHeader     = 400
	vdiMapOffset  = 340
	vdiDataOffset = 344
	vdiDiskSize   = 368
	vdiBlockSize  = 376
	vdiBlocks     = 384

	vdiZero = 0xfffffffe // this entry and the one above stand for no block
)

// checkVDI reports a map or a block behind the end of the file, which has size
// bytes. Whatever else is wrong QEMU refuses.
func checkVDI(r io.ReaderAt, size uint64) error {
	head := make([]byte, vdiHeader)
	if _, err := r.ReadAt(head, 0); errors.Is(err, io.EOF) {
		return errors.New("has no vdi header")
	} else if err != nil {
		return fmt.Errorf("cannot be read (%w)", err)
	}
	u32 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(head[at:])) }
	data, block, disk := u32(vdiDataOffset), u32(vdiBlockSize), binary.LittleEndian.Uint64(head[vdiDiskSize:])
	return eachEntry(r, size, u32(vdiMapOffset), u32(vdiBlocks), 4, func(i uint64, entry []byte) error {
		e, at := uint64(binary.LittleEndian.Uint32(entry)), i*block
		if e >= vdiZero || at >= disk {
			return nil
		}
		if end := data + e*block + min(block, disk-at); end > size {
			return cutOff("file", size, end)
		}
		return nil
	})
}
