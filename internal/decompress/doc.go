// Package decompress undoes the compressions that archives come in: zstd, gzip
// and lzop, told by their first bytes.
package decompress
