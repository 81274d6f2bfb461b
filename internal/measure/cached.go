package measure

import (
	"os"

	"golang.org/x/sys/unix"
)

// drop asks the kernel to forget what of some files it holds in the page cache,
// which anybody may who reads them. It returns the share of them that it holds
// still, or -1 where it does not say (before Linux 6.5).
func drop(paths []string) (cached float64) {
	var held, all int64
	for _, path := range paths {
		size, pages, err := dropFile(path)
		if err != nil {
			return -1
		}
		held, all = held+pages*int64(os.Getpagesize()), all+size
	}
	if all == 0 {
		return 0
	}
	return min(1, float64(held)/float64(all))
}

// dropFile returns the size of a file and the pages of it that are still held.
func dropFile(path string) (size, pages int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, 0, err
	}
	if size, err = f.Seek(0, 2); err != nil {
		return 0, 0, err
	}
	var s unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Len: uint64(size)}, &s, 0); err != nil {
		return 0, 0, err
	}
	return size, int64(s.Cache), nil
}
