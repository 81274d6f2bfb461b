package main

import (
	"time"

	"vaultfs/repo"
	"vaultfs/restore"
)

// The JSON that --json prints. A field is never renamed or dropped.

type snapshotJSON struct {
	ID       string      `json:"id"`
	Source   string      `json:"source"`
	Kind     string      `json:"kind"`
	Time     time.Time   `json:"time"`
	Seq      uint64      `json:"seq"`
	Previous string      `json:"previous"`
	Host     string      `json:"host"`
	Machine  string      `json:"machine"`
	Program  string      `json:"program"`
	Mode     string      `json:"mode"`
	Method   string      `json:"method"` // "backup", "snapshot", ""
	Quiesced string      `json:"quiesced"`
	Verified string      `json:"verified"`
	Notes    []string    `json:"notes"`
	Items    []itemJSON  `json:"items"`
	Summary  summaryJSON `json:"summary"`
	Tags     []string    `json:"tags"`
}

type itemJSON struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Size        int64  `json:"size"`
	Format      string `json:"format"` // of the source, "qcow2"
	Path        string `json:"path"`   // of the source
	Note        string `json:"note"`
	How         string `json:"how"` // "incremental from 3f2a9c81", "full: …"; "" of no disk of a VM
	BytesRead   int64  `json:"bytes_read"`
	BytesDirty  int64  `json:"bytes_dirty"`
	BytesNew    int64  `json:"bytes_new"`
	BytesStored int64  `json:"bytes_stored"`
	Checkpoint  string `json:"checkpoint"` // that the next backup can start from
}

type summaryJSON struct {
	BytesTotal  int64   `json:"bytes_total"`
	BytesRead   int64   `json:"bytes_read"`
	BytesNew    int64   `json:"bytes_new"`
	BytesStored int64   `json:"bytes_stored"`
	ChunksTotal int64   `json:"chunks_total"`
	ChunksNew   int64   `json:"chunks_new"`
	Seconds     float64 `json:"seconds"`
	BytesDirty  int64   `json:"bytes_dirty"` // that dirty bitmaps called changed
	// Of trees: what is below their roots, and the files by what became of them.
	Files          int64 `json:"files"`
	Dirs           int64 `json:"dirs"`
	Others         int64 `json:"others"`
	FilesNew       int64 `json:"files_new"`
	FilesChanged   int64 `json:"files_changed"`
	FilesUnchanged int64 `json:"files_unchanged"`
	FilesUnread    int64 `json:"files_unread"`
}

func toSummaryJSON(s *repo.Snapshot) summaryJSON {
	m := s.Info.Summary
	return summaryJSON{m.BytesTotal, m.BytesRead, m.BytesNew, m.BytesStored, m.ChunksTotal, m.ChunksNew, float64(m.Milliseconds) / 1000, m.BytesDirty,
		m.Files, m.Dirs, m.Others, m.FilesNew, m.FilesChanged, m.FilesUnchanged, m.FilesUnread}
}

func toSnapshotJSON(s *repo.Snapshot) snapshotJSON {
	j := snapshotJSON{
		ID: s.ID, Source: s.Source, Kind: s.Kind, Time: s.Time, Seq: s.Seq, Previous: s.Previous,
		Host: s.Info.Host, Machine: s.Info.Machine, Program: s.Info.Program, Mode: s.Info.Mode, Method: s.Info.Method, Quiesced: s.Info.Quiesced,
		Verified: s.Info.Verified, Notes: list(s.Info.Notes), Summary: toSummaryJSON(s), Tags: list(s.Tags),
	}
	j.Items = toItemsJSON(s)
	return j
}

func toItemsJSON(s *repo.Snapshot) []itemJSON {
	j := []itemJSON{}
	for _, it := range s.Items {
		j = append(j, itemJSON{it.Name, it.Kind, it.Size, it.Format, it.Path, it.Note,
			it.How, it.Read, it.Dirty, it.New, it.Stored, it.Checkpoint})
	}
	return j
}

// list is never null in JSON.
func list(s []string) []string { return append([]string{}, s...) }

// ingestJSON ends an ingest: the last line is one of the last snapshot.
type ingestJSON struct {
	Event    string `json:"event"` // "summary"
	Snapshot string `json:"snapshot"`
	Source   string `json:"source"`
	summaryJSON
	Verified      string     `json:"verified"`
	Mode          string     `json:"mode"`
	Method        string     `json:"method"`
	Quiesced      string     `json:"quiesced"`
	FrozenSeconds float64    `json:"frozen_seconds"`
	DownSeconds   float64    `json:"down_seconds"`
	Notes         []string   `json:"notes"`
	Warnings      []string   `json:"warnings"`
	Items         []itemJSON `json:"items"`
	GetBack       string     `json:"get_back"` // the command that does
	Tags          []string   `json:"tags"`
	Forgot        []string   `json:"forgot"` // older snapshots, by --keep or --forget
}

type progressJSON struct {
	Event      string  `json:"event"` // "progress"
	Phase      string  `json:"phase"`
	BytesDone  int64   `json:"bytes_done"`
	BytesTotal int64   `json:"bytes_total"`
	Seconds    float64 `json:"seconds"`
}

type writtenJSON struct {
	Item   string `json:"item"`
	Path   string `json:"path"`
	Format string `json:"format"`
	Size   int64  `json:"size"`
	Data   int64  `json:"data"`
}

type restoreJSON struct {
	Event    string        `json:"event"` // "summary"
	Snapshot string        `json:"snapshot"`
	Written  []writtenJSON `json:"written"`
	Seconds  float64       `json:"seconds"`
}

func toWrittenJSON(written []*restore.Written) []writtenJSON {
	j := []writtenJSON{}
	for _, w := range written {
		j = append(j, writtenJSON(*w))
	}
	return j
}

type verifyJSON struct {
	Event     string        `json:"event"` // "summary"
	Depth     string        `json:"depth"` // "structure", "data"
	QEMU      int           `json:"qemu"`  // disks that qemu-img has checked
	Snapshots int           `json:"snapshots"`
	Items     int           `json:"items"`
	Packs     int           `json:"packs"`
	Chunks    int64         `json:"chunks"`
	Bytes     int64         `json:"bytes"`
	Unlisted  int           `json:"unlisted"`
	Seconds   float64       `json:"seconds"`
	Findings  []findingJSON `json:"findings"`
}

type findingJSON struct {
	Object  string      `json:"object"`
	Reason  string      `json:"reason"`
	Touches []touchJSON `json:"touches"`
}

type touchJSON struct {
	Snapshot string   `json:"snapshot"`
	Source   string   `json:"source"`
	Item     string   `json:"item"`
	Bytes    int64    `json:"bytes"`
	Files    int64    `json:"files,omitempty"` // of a tree, that lose something
	Paths    []string `json:"paths,omitempty"` // of the first of them
}

func toFindingsJSON(findings []repo.Finding) []findingJSON {
	j := []findingJSON{}
	for _, f := range findings {
		touches := []touchJSON{}
		for _, t := range f.Touches {
			touches = append(touches, touchJSON{t.Snapshot.ID, t.Snapshot.Source, t.Item, t.Bytes, t.Files, t.Paths})
		}
		j = append(j, findingJSON{f.Object, f.Err.Error(), touches})
	}
	return j
}

type keyJSON struct {
	ID      string    `json:"id"`
	Label   string    `json:"label"`
	Created time.Time `json:"created"`
	Current bool      `json:"current"`
}

type initJSON struct {
	Repository   string `json:"repository"`
	ID           string `json:"id"`
	Encrypted    bool   `json:"encrypted"`
	RecoveryFile string `json:"recovery_file"`
}

type mountJSON struct {
	Event string `json:"event"` // "mounted"
	Dir   string `json:"dir"`
	PID   int    `json:"pid"`
}

// vmsJSON ends a run over several VMs.
type vmsJSON struct {
	Event string      `json:"event"` // "vms"
	VMs   []vmOutcome `json:"vms"`
}

type recoveredJSON struct {
	VM    string   `json:"vm"`
	UUID  string   `json:"uuid"`
	Done  []string `json:"done"`
	Error string   `json:"error"`
}

// doneJSON answers a command that has nothing to tell but that it is done.
type doneJSON struct {
	Done string `json:"done"` // what was done
	Key  string `json:"key,omitempty"`
}

type versionJSON struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}
