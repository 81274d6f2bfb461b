// Package decompress undoes the compressions that archives come in: zstd, gzip
// and lzop, told by their first bytes.
//
// Data that is cut off, or that does not match the checksums it carries, is an
// error, and so is anything that follows the end of the compressed data. Only
// gzip data may be followed by zero bytes, as gzip(1) allows it for the sake of
// tapes.
package decompress
