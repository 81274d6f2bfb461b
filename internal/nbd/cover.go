package nbd

import "slices"

// cover is the set of bytes of a read that have been filled: sorted runs that neither overlap nor touch.
type cover struct {
	runs []run
}

type run struct{ start, end uint32 }

// add marks [start, end). It fails on an overlap and on a set that gets too ragged to be honest.
func (c *cover) add(start, end uint32) error {
	i, _ := slices.BinarySearchFunc(c.runs, start, func(r run, start uint32) int {
		if r.end < start {
			return -1
		}
		return 1
	})
	// runs[i] is the first that ends at or after start; it may touch on the left.
	if i < len(c.runs) && c.runs[i].end == start {
		return c.extend(i, end)
	}
	if i < len(c.runs) && c.runs[i].start < end {
		return protocolError("chunks overlap at %d", max(start, c.runs[i].start))
	}
	if i < len(c.runs) && c.runs[i].start == end {
		c.runs[i].start = start
		return nil
	}
	if len(c.runs) >= maxGaps {
		return protocolError("reply to a read in more than %d separate runs", maxGaps)
	}
	c.runs = slices.Insert(c.runs, i, run{start, end})
	return nil
}

// extend grows run i up to end and joins it to the next if they now touch.
func (c *cover) extend(i int, end uint32) error {
	if i+1 < len(c.runs) {
		next := c.runs[i+1]
		if next.start < end {
			return protocolError("chunks overlap at %d", next.start)
		}
		if next.start == end {
			c.runs[i].end = next.end
			c.runs = slices.Delete(c.runs, i+1, i+2)
			return nil
		}
	}
	c.runs[i].end = end
	return nil
}

// whole reports whether [0, length) is filled.
func (c *cover) whole(length uint32) bool {
	return len(c.runs) == 1 && c.runs[0] == run{0, length}
}

// gap is the first byte that is not filled.
func (c *cover) gap() uint32 {
	if len(c.runs) == 0 || c.runs[0].start > 0 {
		return 0
	}
	return c.runs[0].end
}
