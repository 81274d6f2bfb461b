package chunk

import "io"

// ReadFull reads until p is full. Fewer bytes come with the error that ended
// them, io.EOF if that is the end. Unlike io.ReadFull it hands every error on as
// it is: io.ErrUnexpectedEOF is what a reader says of a stream that was cut off,
// and must not be taken for its end.
func ReadFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	if n == len(p) && err == io.EOF {
		err = nil // comes again
	}
	return n, err
}
