package main

import "vaultfs/internal/measure"

// What bench prints with --json. Lengths are in bytes, rates in bytes a second.

type benchJSON struct {
	Event   string       `json:"event"`
	Machine *machineJSON `json:"machine"` // null if it was not measured
	Disks   []diskJSON   `json:"disks"`
	Schemes []schemeJSON `json:"schemes"` // the own one first; none without disks
	Growth  *growthJSON  `json:"growth"`  // null without disks
	Memory  int64        `json:"memory"`
	Seconds float64      `json:"seconds"`
}

type machineJSON struct {
	Cores    int        `json:"cores"`
	Sample   int64      `json:"sample"`
	Cached   float64    `json:"cached"`   // share of the file in the page cache; -1 if that is not known
	WriteTo  string     `json:"write_to"` // "" if nothing was written
	InMemory bool       `json:"in_memory"`
	Limit    string     `json:"limit"`
	Steps    []stepJSON `json:"steps"`
}

type stepJSON struct {
	Step string  `json:"step"`
	One  float64 `json:"one_core"`
	All  float64 `json:"all_cores"`
}

type diskJSON struct {
	Path      string `json:"path"`
	Format    string `json:"format"`
	Size      int64  `json:"size"`
	Data      int64  `json:"data"`
	Read      int64  `json:"read"`
	Zeros     int64  `json:"zeros"`
	Chunks    int64  `json:"chunks"`
	NewChunks int64  `json:"new_chunks"`
	NewBytes  int64  `json:"new_bytes"`
	NewStored int64  `json:"new_stored"`
	Later     bool   `json:"later"` // a later generation of a disk before
}

type schemeJSON struct {
	Aligned        bool  `json:"aligned"`
	Size           int64 `json:"size"`
	Chunks         int64 `json:"chunks"`
	Bytes          int64 `json:"bytes"`
	DistinctChunks int64 `json:"distinct_chunks"`
	DistinctBytes  int64 `json:"distinct_bytes"`
	Stored         int64 `json:"stored"`
	OneIn          int64 `json:"one_in"`
}

type growthJSON struct {
	Each     int64 `json:"each"`
	Month    int64 `json:"month"`
	Observed bool  `json:"observed"`
}

type momentJSON struct {
	Event    string  `json:"event"`
	Seconds  float64 `json:"seconds"`
	Done     int64   `json:"done"`
	Rate     float64 `json:"rate"`
	Resident int64   `json:"resident"`
}

type lastingJSON struct {
	Event     string  `json:"event"`
	Size      int64   `json:"size"`
	Done      int64   `json:"done"`
	Complete  bool    `json:"complete"`
	Seconds   float64 `json:"seconds"`
	NewBytes  int64   `json:"new_bytes"`
	Stored    int64   `json:"stored"`
	NewChunks int64   `json:"new_chunks"`
	Memory    int64   `json:"memory"` // resident at most, while it ran
	Forgets   bool    `json:"forgets"`
}

func toBenchJSON(r *benchResult) benchJSON {
	j := benchJSON{Event: "summary", Disks: []diskJSON{}, Schemes: []schemeJSON{}, Memory: r.most, Seconds: r.took.Seconds()}
	if r.rates != nil {
		j.Machine = toMachineJSON(r.rates)
	}
	if len(r.disks) == 0 {
		return j
	}
	j.Growth = &growthJSON{r.growth.Each, r.growth.Month, r.growth.Observed}
	for _, d := range r.disks {
		j.Disks = append(j.Disks, diskJSON{d.path, d.format, d.Size, d.Data, d.Read, d.Zeros, d.Chunks, d.New.Chunks, d.New.Bytes, d.New.Stored, d.Later()})
	}
	for _, s := range r.schemes {
		j.Schemes = append(j.Schemes, schemeJSON{s.Aligned, s.Size, s.Chunks, s.Bytes, s.Kept.Chunks, s.Kept.Bytes, s.Kept.Stored, s.OneIn})
	}
	return j
}

func toMachineJSON(r *measure.Rates) *machineJSON {
	j := &machineJSON{Cores: r.Cores, Sample: r.Sample, Cached: r.Cached, Limit: r.Limit, Steps: []stepJSON{}}
	if r.Place != nil {
		j.WriteTo, j.InMemory = r.Place.Dir, r.Place.Memory
	}
	for _, s := range r.Steps {
		j.Steps = append(j.Steps, stepJSON(s))
	}
	return j
}
