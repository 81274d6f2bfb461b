package vma

// Units of the format, in bytes where nothing else is said. An archive is a
// header and then extents, one after the other, to the end of the file.
// Integers are big-endian but for the lengths of blobs.
const (
	blockSize        = 4096
	blocksPerCluster = 16
	clusterSize      = blocksPerCluster * blockSize
	sectorSize       = 512 // the sizes of header, extents and drives are multiples

	headerMagic     = "VMA\x00"
	version         = 1
	fixedHeaderSize = 12288     // of the header before its blobs
	maxHeaderSize   = 512 << 10 // Proxmox's own writer makes none that is larger
	maxConfigs      = 256
	firstDrive      = 1   // slot in the header's table; slot 0 means "nothing" in extents
	lastDrive       = 254 // Proxmox's own reader leaves out slot 255
	maxBlob         = 1<<16 - 1

	extentMagic      = "VMAE"
	extentHeaderSize = 512
	extentSlots      = 59
	maxExtentBlocks  = extentSlots * blocksPerCluster

	maxDriveSize = clusterSize << 32 // what 32-bit cluster numbers reach
)

// Places in the header, in bytes from its start.
const (
	atVersion     = 4
	atUUID        = 8
	atCreated     = 24
	atHeaderSum   = 32
	atBlobs       = 48
	atBlobsSize   = 52
	atHeaderSize  = 56
	atConfigNames = 2044
	atConfigData  = atConfigNames + 4*maxConfigs
	atDrives      = 4096

	driveEntrySize = 32 // name pointer 4, reserved 4, size 8, reserved 16
	atDriveSize    = 8  // in an entry
)

// Places in the header of an extent.
const (
	atExtentReserved = 4
	atBlockCount     = 6
	atExtentUUID     = 8
	atExtentSum      = 24
	atSlots          = 40

	slotSize      = 8 // mask 2, reserved 1, drive 1, cluster number 4
	atSlotDrive   = 3 // in a slot
	atSlotCluster = 4
)

// ClusterSize is the unit in which an archive lists the contents of drives, in
// bytes. BlockSize is that in which it stores them: a cluster has 16 blocks.
const (
	ClusterSize = clusterSize
	BlockSize   = blockSize
)
