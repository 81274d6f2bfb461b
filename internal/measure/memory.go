package measure

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
)

// Resident is what this process holds in memory, and held at most, in bytes; 0
// where the kernel does not say (proc(5), status).
func Resident() (now, most int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		word := bytes.Fields(lines.Bytes())
		if len(word) < 2 {
			continue
		}
		kilobytes, err := strconv.ParseInt(string(word[1]), 10, 64)
		if err != nil {
			continue
		}
		switch string(word[0]) {
		case "VmRSS:":
			now = kilobytes << 10
		case "VmHWM:":
			most = kilobytes << 10
		}
	}
	return now, most
}
