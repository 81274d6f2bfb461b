// Package report keeps what a benchmark measured, and tells it: as medians with
// their spread, as ratios beside the goals, and as plots. It measures nothing.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Results is all that one run of the benchmark measured.
type Results struct {
	Began   time.Time
	Took    float64 // seconds
	Machine Machine
	Rounds  int
	Slow    int // rounds of the large disk, the tree, the dumps and the boots
	Tools   []Tool
	Data    []Item
	Samples []Sample
	Checks  []string // what was compared with the source, and was the same
	Remarks []string // what is missing, and why
}

// A Machine is where it ran.
type Machine struct {
	CPU    string
	Cores  int
	Memory int64 // bytes
	Kernel string
	System string
	Disk   string // file system of what was written
}

// A Tool is a program and its version.
type Tool struct{ Name, Version string }

// An Item is something that was backed up.
type Item struct {
	Name, About string
	Bytes       int64 // on the disk
}

// A Sample is one measurement of a row. What does not apply is 0.
type Sample struct {
	Row, Tool string
	Round     int     // from 1
	Wall, CPU float64 // seconds
	Peak      int64   // bytes resident at most
	Bytes     int64   // that were backed up, read or restored
	Count     int64   // of single reads
	Stored    int64   // bytes of the repository afterwards
	Grown     int64   // bytes of it since the sample before
}

// Add keeps a sample.
func (r *Results) Add(s Sample) { r.Samples = append(r.Samples, s) }

// Load reads what Save wrote.
func Load(path string) (*Results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Results)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Save writes the results as JSON.
func (r *Results) Save(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// A metric is what of a sample is told; false if the sample has none.
type metric func(Sample) (float64, bool)

func seconds(s Sample) (float64, bool) { return s.Wall, s.Wall > 0 }
func cpu(s Sample) (float64, bool)     { return s.CPU, s.CPU > 0 }
func peak(s Sample) (float64, bool)    { return float64(s.Peak), s.Peak > 0 }
func stored(s Sample) (float64, bool)  { return float64(s.Stored), s.Stored > 0 }
func grown(s Sample) (float64, bool)   { return float64(s.Grown), s.Stored > 0 }

// rate is in bytes a second.
func rate(s Sample) (float64, bool) {
	return float64(s.Bytes) / s.Wall, s.Bytes > 0 && s.Wall > 0
}

// reads is single reads a second.
func reads(s Sample) (float64, bool) {
	return float64(s.Count) / s.Wall, s.Count > 0 && s.Wall > 0
}

// A spread is what several measurements of the same are.
type spread struct {
	n                int
	median, min, max float64
}

// of is the spread of a metric of a tool's samples of a row; n is 0 if there are
// none.
func (r *Results) of(row, tool string, m metric) spread {
	var values []float64
	for _, s := range r.Samples {
		if v, ok := m(s); ok && s.Row == row && s.Tool == tool {
			values = append(values, v)
		}
	}
	return spreadOf(values)
}

func spreadOf(values []float64) (s spread) {
	if len(values) == 0 {
		return s
	}
	slices.Sort(values)
	middle := len(values) / 2
	s = spread{n: len(values), median: values[middle], min: values[0], max: values[len(values)-1]}
	if len(values)%2 == 0 {
		s.median = (values[middle-1] + values[middle]) / 2
	}
	return s
}

// tools are those that have a sample in one of the rows, in the order in which
// they came first.
func (r *Results) tools(rows ...string) (names []string) {
	for _, s := range r.Samples {
		if slices.Contains(rows, s.Row) && !slices.Contains(names, s.Tool) {
			names = append(names, s.Tool)
		}
	}
	return names
}
