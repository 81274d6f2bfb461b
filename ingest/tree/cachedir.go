package tree

import (
	"bytes"
	"io"

	"golang.org/x/sys/unix"
)

// cacheTag is the file that says that its directory holds nothing but a cache,
// and signature what it begins with: https://bford.info/cachedir/
const (
	cacheTag  = "CACHEDIR.TAG"
	signature = "Signature: 8a477f597d28d172789f06886806bc55"
)

// withoutCache is the names in a directory, or the tag alone if it is a cache.
func (w *walk) withoutCache(d *directory, names *listing) *listing {
	tag := names.only(cacheTag)
	if tag == nil {
		return names
	}
	fd, st, err := openFile(d.handle.fd, cacheTag)
	if err != nil {
		return names
	}
	defer unix.Close(fd)
	begin := make([]byte, len(signature))
	p := &portion{fd: fd, left: st.Size, count: func(int) {}}
	if _, err := io.ReadFull(p, begin); err != nil || !bytes.Equal(begin, []byte(signature)) {
		return names
	}
	w.remarks.cache(w.full(d.path("")))
	return tag
}
