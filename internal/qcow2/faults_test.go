package qcow2

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

var errFault = errors.New("fault of the source")

// faultyDisk has clusters 4 to 27 allocated, over two segments of 16.
func faultyDisk() *disk {
	d := newDisk(2*mib, mib)
	d.allocate(4, 24)
	return d
}

// checkFails reads the file's end from off on, and wants the bytes before good
// and then the error.
func checkFails(t *testing.T, v *View, file []byte, off, good int64, want error) {
	t.Helper()
	p := make([]byte, v.Size()-off)
	n, err := v.ReadAt(p, off)
	if !errors.Is(err, want) || int64(n) != good-off {
		t.Errorf("read at %d: %d bytes and %v, not %d and %v", off, n, err, good-off, want)
	}
	if !bytes.Equal(p[:n], file[off:off+int64(n)]) {
		t.Errorf("read at %d: wrong bytes before the error", off)
	}
}

func TestBitmapErrorComesAfterTheBytesBefore(t *testing.T) {
	d := faultyDisk()
	v := newView(t, d)
	file := readAll(t, v)

	d.failBitmap = map[int]error{1: errFault}
	checkFails(t, v, file, v.layout.data+5, v.layout.data+12*clusterSize, errFault)
	checkFails(t, v, file, 1, v.layout.l2+16*entrySize, errFault)
	if err := readErr(v, v.layout.data+3*clusterSize, clusterSize); err != nil {
		t.Errorf("data of the sound segment: %v", err)
	}
}

func TestReadErrorComesAfterTheBytesBefore(t *testing.T) {
	d := faultyDisk()
	v := newView(t, d)
	file := readAll(t, v)

	d.failRead, d.failAt = errFault, 20*clusterSize+77
	checkFails(t, v, file, v.layout.data+5, v.layout.data+16*clusterSize+77, errFault)
	checkFails(t, v, file, 0, v.layout.data+16*clusterSize+77, errFault)
	if _, err := v.ReadAt(make([]byte, 100), v.layout.data+20*clusterSize); err != errFault {
		t.Errorf("error is not returned as it is: %v", err)
	}
}

func TestSourceThatEndsEarly(t *testing.T) {
	for _, sourceErr := range []error{nil, io.EOF} {
		d := faultyDisk()
		v := newView(t, d)
		short := shortSource{d, sourceErr}
		v.src = short
		n, err := v.ReadAt(make([]byte, clusterSize), v.layout.data)
		if n != clusterSize-1 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("source says %v: %d bytes and %v", sourceErr, n, err)
		}
	}
}

// shortSource leaves out the last byte of every read.
type shortSource struct {
	*disk
	err error
}

func (s shortSource) ReadAt(p []byte, off int64) (int, error) {
	n, _ := s.disk.ReadAt(p[:len(p)-1], off)
	return n, s.err
}

func TestBitmapThatDoesNotMatchItsCount(t *testing.T) {
	for name, bitmap := range map[string][]uint64{
		"one more":            {0xfff1},
		"one less":            {0x7ff0},
		"none":                {0},
		"absent":              nil,
		"one past the end":    {0x17ff0},
		"one in another word": {0x7ff0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := faultyDisk()
			v := newView(t, d)
			d.bitmaps = maps.Clone(d.bitmaps)
			d.bitmaps[0] = bitmap
			for _, off := range []int64{v.layout.l2, v.layout.data} {
				n, err := v.ReadAt(make([]byte, 100), off)
				if n != 0 || err == nil || !strings.HasPrefix(err.Error(), "segment 0: bitmap") {
					t.Errorf("read at %d: %d bytes, %v", off, n, err)
				}
			}
		})
	}
}

func TestBitmapMayBeLongerThanTheSegment(t *testing.T) {
	d := faultyDisk()
	v := newView(t, d)
	file := readAll(t, v)
	for s := range d.bitmaps {
		d.bitmaps[s] = append(slices.Clone(d.bitmaps[s]), 0, 0)
	}
	checkSlice(t, v, file, 0, v.Size())
}

func TestNewRefuses(t *testing.T) {
	tooMany := newDisk(mib+1, mib)
	tooMany.counts = map[int]uint32{1: 2}
	for name, tc := range map[string]struct {
		src  Source
		want string
	}{
		"negative size":       {newDisk(-1, mib), "disk of -1 bytes"},
		"over 2 PiB":          {newDisk(maxSize+1, 512*mib), "disk of"},
		"small segments":      {newDisk(0, mib/2), "segment size"},
		"large segments":      {newDisk(0, gib), "segment size"},
		"no power of two":     {newDisk(0, 3*mib), "segment size"},
		"no segment size":     {newDisk(0, 0), "segment size"},
		"count over segment":  {tooMany, "segment 1: 2 clusters allocated of 1"},
		"more than refcounts": {fullDisk{size: maxSize, segment: 512 * mib}, "refcount table"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tc.src); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, not %s", err, tc.want)
			}
		})
	}
}

func readErr(v *View, off, n int64) error {
	_, err := v.ReadAt(make([]byte, n), off)
	return err
}

func TestLocateOfWhatTheFileDoesNotHold(t *testing.T) {
	d := newDisk(3*mib+512, mib)
	d.allocate(1, 2)
	d.allocate(48, 1)
	v := newView(t, d)
	for _, off := range []int64{-1, 0, 65535, 3 * 65536, 2 * mib, 3*mib + 512} {
		if at, err := v.Locate(off); err == nil {
			t.Errorf("guest offset %d is at %#x", off, at)
		}
	}
	if at, err := v.Locate(3*mib + 511); err != nil || at != v.DataOffset()+2*65536+511 {
		t.Errorf("the last byte is at %#x (%v)", at, err)
	}
}
