package nbd

import (
	"context"
	"encoding/binary"
	"fmt"
)

// ExportInfo is one export of a server's listing.
type ExportInfo struct {
	Name        string
	Description string
	Size        int64 // bytes
	ReadOnly    bool
	Contexts    []string // that could be asked for; none without structured replies
}

// List gives a server's exports. It is bounded by ctx alone.
func List(ctx context.Context, network, addr string) ([]ExportInfo, error) {
	exports, err := list(ctx, network, addr)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("nbd %s:%s: list: %w", network, addr, err)
	}
	return exports, nil
}

func list(ctx context.Context, network, addr string) ([]ExportInfo, error) {
	w, err := connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer w.conn.Close()
	defer w.deadline(ctx)()
	if err := w.greet(); err != nil {
		return nil, err
	}
	exports, err := w.exports()
	if err == nil {
		w.abort()
	}
	return exports, err
}

// exports haggles for the listing and for what there is to know of each export.
func (w *wire) exports() ([]ExportInfo, error) {
	structured, err := w.structuredReplies()
	if err != nil {
		return nil, err
	}
	names, err := w.exportNames()
	if err != nil {
		return nil, err
	}
	exports := make([]ExportInfo, 0, len(names))
	total := 0
	for _, name := range names {
		e, err := w.describe(name, structured)
		if err != nil {
			return nil, fmt.Errorf("export %s: %w", quote([]byte(name)), err)
		}
		if total += e.weight(); total > maxListBytes {
			return nil, protocolError("listing of more than %d bytes", maxListBytes)
		}
		exports = append(exports, e)
	}
	return exports, nil
}

// stringCost is what a string takes besides its bytes; empty names are not free.
const stringCost = 16

// weight is about how many bytes of memory an entry takes.
func (e *ExportInfo) weight() int {
	n := 2*stringCost + len(e.Name) + len(e.Description)
	for _, c := range e.Contexts {
		n += stringCost + len(c)
	}
	return n
}

// exportNames asks for the listing: replies of length:32 name, and a description that is ignored here.
func (w *wire) exportNames() ([]string, error) {
	var names []string
	total := 0
	err := w.option(optList, nil, func(reply uint32, p []byte) error {
		if reply != repServer || len(p) < 4 {
			return protocolError("reply %d of %d bytes where an export belongs", reply, len(p))
		}
		n := binary.BigEndian.Uint32(p)
		if n > maxString || int(n) > len(p)-4 {
			return protocolError("export name of %d bytes in a reply of %d", n, len(p))
		}
		if total += stringCost + int(n); total > maxListBytes {
			return protocolError("listing of more than %d bytes", maxListBytes)
		}
		names = append(names, string(p[4:4+n]))
		return nil
	})
	return names, err
}

// describe asks for all that can be known of an export without opening it.
func (w *wire) describe(name string, structured bool) (ExportInfo, error) {
	info, err := w.exportInfo(optInfo, name)
	if err != nil {
		return ExportInfo{}, err
	}
	e := ExportInfo{Name: name, Description: info.description, Size: info.size, ReadOnly: info.flags&flagReadOnly != 0}
	if !structured {
		return e, nil
	}
	total := 0
	err = w.option(optListMetaContext, contextQuery(name, nil), func(reply uint32, p []byte) error {
		context, _, err := parseContext(reply, p)
		if err != nil {
			return err
		}
		if total += stringCost + len(context); total > maxListBytes {
			return protocolError("contexts of more than %d bytes", maxListBytes)
		}
		e.Contexts = append(e.Contexts, context)
		return nil
	})
	if isOptionError(err, repErrUnsup, repErrPolicy, repErrInvalid, repErrPlatform) {
		err = nil
	}
	return e, err
}
