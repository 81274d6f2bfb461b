package nbd

import (
	"encoding/binary"
	"fmt"
)

// option sends one option and reads its replies up to ACK; each is called for those before, with a payload that is
// its own. The server's refusal is an *OptionError.
func (w *wire) option(opt uint32, data []byte, each func(reply uint32, payload []byte) error) error {
	h := make([]byte, 0, 16+len(data))
	h = binary.BigEndian.AppendUint64(h, magicOption)
	h = binary.BigEndian.AppendUint32(h, opt)
	h = append(binary.BigEndian.AppendUint32(h, uint32(len(data))), data...)
	if _, err := w.conn.Write(h); err != nil {
		return err
	}
	for range maxOptionReplies {
		reply, payload, err := w.optionReply(opt)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", optionText[opt], eof(err))
		case reply == repAck:
			return nil
		case reply&repError != 0:
			return &OptionError{Option: opt, Reply: reply, Message: quote(payload)}
		case each == nil:
			return protocolError("reply %d to option %d", reply, opt)
		}
		if err := each(reply, payload); err != nil {
			return fmt.Errorf("%s: %w", optionText[opt], err)
		}
	}
	return protocolError("more than %d replies to option %d", maxOptionReplies, opt)
}

// optionReply reads one reply, which must be to this option.
func (w *wire) optionReply(opt uint32) (reply uint32, payload []byte, err error) {
	var h [20]byte
	if err := w.read(h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[16:])
	if binary.BigEndian.Uint64(h[:]) != magicOptReply || binary.BigEndian.Uint32(h[8:]) != opt {
		return 0, nil, protocolError("bytes that are no reply to option %d", opt)
	}
	if n > maxOptionReply {
		return 0, nil, protocolError("option reply of %d bytes", n)
	}
	payload = make([]byte, n)
	return binary.BigEndian.Uint32(h[12:]), payload, w.read(payload)
}

// abort leaves the haggling politely. The server may hang up instead of acknowledging.
func (w *wire) abort() {
	_ = w.option(optAbort, nil, nil)
}
