package nbd

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
)

// ErrClosed is what requests end with when the client was closed.
var ErrClosed = errors.New("client is closed")

// Error is the server's refusal of one request; the connection goes on. It unwraps to the errno, so that
// errors.Is(err, syscall.EIO) works.
type Error struct {
	Errno   syscall.Errno // the protocol's numbers are Linux's
	Message string        // the server's words, quoted and shortened; may be empty
	Offset  int64         // where in the export it failed, or -1
}

func (e *Error) Error() string {
	s := "server answers: " + e.Errno.Error()
	if e.Offset >= 0 {
		s += fmt.Sprintf(" at %d", e.Offset)
	}
	if e.Message != "" {
		s += " (" + e.Message + ")"
	}
	return s
}

// Unwrap gives the errno.
func (e *Error) Unwrap() error { return e.Errno }

// OptionError is the server's refusal of an option during the handshake.
type OptionError struct {
	Option  uint32
	Reply   uint32 // REP_ERR_…
	Message string // the server's words, quoted and shortened; may be empty
}

var replyText = map[uint32]string{
	repErrUnsup:    "not supported",
	repErrPolicy:   "not allowed",
	repErrInvalid:  "invalid",
	repErrPlatform: "not supported on its platform",
	repErrTLSReqd:  "TLS required",
	repErrUnknown:  "no such export",
	repErrShutdown: "server is shutting down",
	repErrBlockReq: "block size must be negotiated",
	repErrTooBig:   "too big",
}

var optionText = map[uint32]string{
	optList:            "list exports",
	optInfo:            "ask for information on the export",
	optGo:              "open the export",
	optStructuredReply: "ask for structured replies",
	optListMetaContext: "list contexts",
	optSetMetaContext:  "select contexts",
}

func (e *OptionError) Error() string {
	text, ok := replyText[e.Reply]
	if !ok {
		text = fmt.Sprintf("error %#x", e.Reply)
	}
	s := optionText[e.Option] + ": server answers: " + text
	if e.Message != "" {
		s += " (" + e.Message + ")"
	}
	return s
}

// isOptionError reports whether err is one of these refusals.
func isOptionError(err error, replies ...uint32) bool {
	var oe *OptionError
	if !errors.As(err, &oe) {
		return false
	}
	for _, r := range replies {
		if oe.Reply == r {
			return true
		}
	}
	return false
}

// errProtocol marks a reply that breaks the protocol.
var errProtocol = errors.New("server breaks the protocol")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

// quote makes a server's text safe to print, and short.
func quote(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	return strconv.Quote(string(text[:min(len(text), 256)]))
}
