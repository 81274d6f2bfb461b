package format

import (
	"runtime"

	"github.com/DataDog/zstd"
)

// contexts are libzstd's memory, for encoding and for decoding. Go's collector
// does not see how large they are, so there are only as many as can be at work at
// a time; who finds all of them taken waits.
var contexts = func() chan zstd.Ctx {
	c := make(chan zstd.Ctx, runtime.NumCPU())
	for range cap(c) {
		c <- nil // made when it is wanted
	}
	return c
}()

func takeContext() zstd.Ctx {
	if c := <-contexts; c != nil {
		return c
	}
	return zstd.NewCtx()
}

func returnContext(c zstd.Ctx) { contexts <- c }
