package tar

import (
	"bytes"
	"errors"
	"strconv"
)

// blockSize is the unit of a tar archive, in bytes: a header is a block, and
// content is padded to whole ones.
const blockSize = 512

// The types of member. Those from 'D' on are GNU tar's.
const (
	typeRegular    = '0'
	typeOldRegular = 0
	typeLink       = '1'
	typeSymlink    = '2'
	typeChar       = '3'
	typeBlock      = '4'
	typeDir        = '5'
	typeFifo       = '6'
	typeContiguous = '7'
	typePax        = 'x'
	typePaxGlobal  = 'g'
	typePaxSun     = 'X' // what pax headers were before the standard, in Solaris
	typeDumpdir    = 'D'
	typeLongLink   = 'K'
	typeLongName   = 'L'
	typeContinued  = 'M'
	typeSparse     = 'S'
	typeVolume     = 'V'
)

// A block is a header as it stands in the archive. Its fields are those of POSIX
// ustar and of GNU tar, tar.h; both begin as the tar of Unix version 7.
type block [blockSize]byte

func (b *block) name() []byte     { return text(b[0:100]) }
func (b *block) mode() []byte     { return b[100:108] }
func (b *block) uid() []byte      { return b[108:116] }
func (b *block) gid() []byte      { return b[116:124] }
func (b *block) size() []byte     { return b[124:136] }
func (b *block) mtime() []byte    { return b[136:148] }
func (b *block) checksum() []byte { return b[148:156] }
func (b *block) kind() byte       { return b[156] }
func (b *block) link() []byte     { return text(b[157:257]) }
func (b *block) magic() []byte    { return b[257:265] }
func (b *block) uname() []byte    { return text(b[265:297]) }
func (b *block) gname() []byte    { return text(b[297:329]) }
func (b *block) major() []byte    { return b[329:337] }
func (b *block) minor() []byte    { return b[337:345] }

// Of GNU tar's header of a sparse file: four runs of data, whether blocks with
// more follow, and the size of the file with its holes.
func (b *block) gnuRuns() []byte     { return b[386:482] }
func (b *block) gnuMore() bool       { return b[482] != 0 }
func (b *block) gnuRealSize() []byte { return b[483:495] }

// Of a block with more of its runs: 21 of them, and whether yet more follow.
func (b *block) moreRuns() []byte { return b[0:504] }
func (b *block) evenMore() bool   { return b[504] != 0 }

// A dialect is a form of header.
type dialect uint8

const (
	dialectV7 dialect = iota
	dialectUstar
	dialectStar // ustar with a shorter prefix, by Schilling's star
	dialectGNU
)

func (b *block) dialect() dialect {
	switch {
	case string(b.magic()) == "ustar  \x00":
		return dialectGNU
	case string(b.magic()[:5]) == "ustar" && string(b[508:512]) == "tar\x00":
		return dialectStar
	case string(b.magic()[:5]) == "ustar":
		return dialectUstar
	}
	return dialectV7
}

// path is the name with the prefix that the dialect may have.
func (b *block) path() string {
	var prefix []byte
	switch b.dialect() {
	case dialectUstar:
		prefix = text(b[345:500])
	case dialectStar:
		prefix = text(b[345:476])
	}
	if len(prefix) == 0 {
		return string(b.name())
	}
	return string(prefix) + "/" + string(b.name())
}

// text is a field up to its first NUL.
func text(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// zero tells a block of zeros: two of them end an archive.
func (b *block) zero() bool { return *b == block{} }

// sound tells whether the checksum is right: the sum of all bytes, its own field
// taken for spaces. Some old programs added up signed bytes.
func (b *block) sound() bool {
	want, err := number(b.checksum())
	if err != nil {
		return false
	}
	var plain, signed int64
	for _, c := range b {
		plain += int64(c)
		signed += int64(int8(c))
	}
	for _, c := range b.checksum() {
		plain += ' ' - int64(c)
		signed += ' ' - int64(int8(c))
	}
	return want == plain || want == signed
}

var errNumber = errors.New("a field that is no number")

// number reads a field: octal digits, between spaces and NULs, or in base 256 as
// GNU tar has it, big-endian in two's complement, with the highest bit set. An
// empty field is 0.
func number(field []byte) (int64, error) {
	if field[0]&0x80 != 0 {
		return base256(field)
	}
	digits := bytes.Trim(field, " \x00")
	if len(digits) == 0 {
		return 0, nil
	}
	if i := bytes.IndexByte(digits, 0); i >= 0 {
		digits = bytes.TrimRight(digits[:i], " ")
	}
	n, err := strconv.ParseUint(string(digits), 8, 63)
	if err != nil {
		return 0, errNumber
	}
	return int64(n), nil
}

func base256(field []byte) (int64, error) {
	negative := field[0]&0x40 != 0
	var fillers, n uint64
	if negative {
		fillers = 0xff
		n = ^uint64(0)
	}
	for i, c := range field {
		if i == 0 {
			c &= 0x7f
			if negative {
				c |= 0x80
			}
		}
		if i < len(field)-8 && uint64(c) != fillers {
			return 0, errNumber
		}
		n = n<<8 | uint64(c)
	}
	if negative != (int64(n) < 0) {
		return 0, errNumber
	}
	return int64(n), nil
}
