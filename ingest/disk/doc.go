// Package disk turns disk image files into the items of one session: qcow2,
// raw, vmdk, vdi, vhdx, vpc (VHD) and the old qcow, and a raw disk that comes
// as a stream.
//
// # Images are hostile input
//
// What an image says is written by whoever had it before, a raw disk's every
// byte by its guest. Hence:
//
//   - The format is never QEMU's guess. It is given, or name and header agree
//     on it, or the image is refused. What is called .raw stays raw whatever
//     it begins with. See format.go.
//   - The files that an image names (backing files, qcow2 data files, VMDK
//     extents) are found here, by small bounded parsers, and are regular files
//     beside the image that names them. Options.AllowBacking lets them lie
//     anywhere, but they stay files: json: and QEMU's protocols are refused in
//     any case. See named.go.
//   - qemu-nbd is given the whole chain, so that it looks nothing up itself.
//     VMDK extents are the exception: QEMU opens those by the names that were
//     looked at here.
//
// # An image is whole, or refused
//
// QEMU reads what lies behind the end of a file as zeros, so a copy that broke
// off would become a disk with holes. The tables of qcow2, vdi and vmdk images are
// compared with the size of the file first; see cut.go. Those of vpc and vhdx
// QEMU looks at itself. Nobody looks at those of the old qcow.
//
// # An image is read as it was at one moment
//
// QEMU's own locks tell whether a running guest has an image open for writing.
// Against anybody else, every file is held open from the first look until the
// commit, and its size, times and identity are compared at the end. See file.go.
package disk
