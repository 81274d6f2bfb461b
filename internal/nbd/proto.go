package nbd

// Magic numbers.
const (
	magicServer     = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption     = 0x49484156454f5054 // "IHAVEOPT"
	magicOptReply   = 0x0003e889045565a9
	magicRequest    = 0x25609513
	magicSimple     = 0x67446698
	magicStructured = 0x668e33ef
)

// Handshake flags of the server and of the client have the same bits.
const (
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1
)

// Options (OPT_…).
const (
	optAbort           = 2
	optList            = 3
	optInfo            = 6
	optGo              = 7
	optStructuredReply = 8
	optListMetaContext = 9
	optSetMetaContext  = 10
)

// Option replies (REP_…); repError is the bit that all errors have.
const (
	repAck         = 1
	repServer      = 2
	repInfo        = 3
	repMetaContext = 4
	repError       = 1 << 31
	repErrUnsup    = repError + 1
	repErrPolicy   = repError + 2
	repErrInvalid  = repError + 3
	repErrPlatform = repError + 4
	repErrTLSReqd  = repError + 5
	repErrUnknown  = repError + 6
	repErrShutdown = repError + 7
	repErrBlockReq = repError + 8
	repErrTooBig   = repError + 9
)

// Kinds of information in a REP_INFO (INFO_…).
const (
	infoExport      = 0
	infoName        = 1
	infoDescription = 2
	infoBlockSize   = 3
)

// Transmission flags (FLAG_…).
const (
	flagReadOnly     = 1 << 1
	flagCanMultiConn = 1 << 8
)

// Commands and their flags (CMD_…, CMD_FLAG_…).
const (
	cmdRead        = 0
	cmdDisc        = 2
	cmdBlockStatus = 7

	cmdFlagReqOne = 1 << 3
)

// Structured reply chunks (REPLY_TYPE_…); chunkError is the bit that all errors have.
const (
	chunkNone        = 0
	chunkOffsetData  = 1
	chunkOffsetHole  = 2
	chunkBlockStatus = 5
	chunkError       = 1 << 15
	chunkErrorOffset = chunkError + 2

	replyFlagDone = 1 << 0
)

// Bounds on what a server may say, in bytes or pieces.
const (
	maxString        = 4096                 // a name, a description or a message, as the protocol has it
	maxOptionReply   = 64 << 10             // one option reply; the longest that is defined holds two strings
	maxOptionReplies = 1 << 14              // replies to one option
	maxListBytes     = 4 << 20              // all names and descriptions of a listing
	maxRead          = 32 << 20             // one read request, the protocol's default
	maxStatus        = 1<<32 - maxBlockSize // one block status request: what 32 bits hold, on a block border
	maxChunkExtents  = 1 << 20              // extents in one block status chunk
	maxErrorChunks   = 64                   // error chunks in one reply
	maxGaps          = 1 << 14              // separate runs that a read's chunks may cover while it is incomplete
	maxBlockSize     = 64 << 10             // minimum block size that a server may ask for, as the protocol has it
)
