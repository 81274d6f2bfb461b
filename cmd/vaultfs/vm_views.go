package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"vaultfs/ingest/vm"
)

// What the commands about libvirt's VMs and snapshots have to tell, as text and
// as JSON, of which a field is never renamed or dropped.

type vmJSON struct {
	VM             string `json:"vm"`
	UUID           string `json:"uuid"`
	State          string `json:"state"` // virsh's word
	Disks          int    `json:"disks"` // that a backup holds
	Snapshots      int    `json:"snapshots"`
	NewestSnapshot string `json:"newest_snapshot"` // "" if there is none
}

func (p *printer) vms(list []vmState) {
	if p.json {
		j := []vmJSON{}
		for _, d := range list {
			j = append(j, vmJSON{d.Name, d.UUID, d.State, d.Disks, len(d.snapshots), d.newest()})
		}
		p.object(j)
		return
	}
	if len(list) == 0 {
		p.remark("libvirt has no VMs\n")
		return
	}
	t := newTable("VM", "STATE", "DISKS", "SNAPSHOTS", "NEWEST")
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 3, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 4, Align: text.AlignRight, AlignHeader: text.AlignRight},
	})
	for _, d := range list {
		t.AppendRow(table.Row{d.Name, d.State, d.Disks, len(d.snapshots), d.newest()})
	}
	p.table(t)
}

func (d *vmState) newest() string {
	if len(d.snapshots) == 0 {
		return ""
	}
	return d.snapshots[len(d.snapshots)-1].Name
}

type vmSnapshotJSON struct {
	VM      string               `json:"vm"`
	Name    string               `json:"name"`
	Kind    string               `json:"kind"` // "internal" or "external"
	Created time.Time            `json:"created"`
	State   string               `json:"state"`   // of the VM when it was made
	Current bool                 `json:"current"` // libvirt's current one
	Disks   []vmSnapshotDiskJSON `json:"disks"`
}

type vmSnapshotDiskJSON struct {
	Target  string `json:"target"`
	Image   string `json:"image"`   // that holds the state of the snapshot
	Format  string `json:"format"`  // of the image
	Overlay string `json:"overlay"` // that takes what is written since; "" of an internal snapshot
}

func toVMSnapshotJSON(s vm.VMSnapshot) vmSnapshotJSON {
	j := vmSnapshotJSON{VM: s.VM, Name: s.Name, Kind: s.Kind, Created: s.Created, State: s.State, Current: s.Current, Disks: []vmSnapshotDiskJSON{}}
	for _, d := range s.Disks {
		j.Disks = append(j.Disks, vmSnapshotDiskJSON{d.Target, d.Image, d.Format, d.File})
	}
	return j
}

func (p *printer) vmSnapshots(list []vm.VMSnapshot) {
	if p.json {
		j := []vmSnapshotJSON{}
		for _, s := range list {
			j = append(j, toVMSnapshotJSON(s))
		}
		p.object(j)
		return
	}
	if len(list) == 0 {
		p.remark("there are no libvirt snapshots that vaultfs made\n")
		return
	}
	t := newTable("", "VM", "SNAPSHOT", "CREATED", "KIND", "STATE", "DISKS")
	for _, s := range list {
		mark := ""
		if s.Current {
			mark = "*"
		}
		t.AppendRow(table.Row{mark, s.VM, s.Name, localTime(s.Created), s.Kind, s.State, targets(s)})
	}
	p.table(t)
}

func targets(s vm.VMSnapshot) string {
	var names []string
	for _, d := range s.Disks {
		names = append(names, d.Target)
	}
	return strings.Join(names, " ")
}

type tookVMSnapshotJSON struct {
	Event string `json:"event"` // "snapshot"
	vmSnapshotJSON
	Quiesced      string   `json:"quiesced"`
	FrozenSeconds float64  `json:"frozen_seconds"`
	Notes         []string `json:"notes"`
	Warnings      []string `json:"warnings"`
}

// tookVMSnapshot tells of a libvirt snapshot that was just made, and how to be
// rid of it.
func (p *printer) tookVMSnapshot(r *vm.SnapshotResult) {
	if p.json {
		p.object(tookVMSnapshotJSON{"snapshot", toVMSnapshotJSON(r.VMSnapshot), r.Quiesced, r.Frozen.Seconds(), list(r.Notes), list(r.Warnings)})
		return
	}
	for _, w := range r.Warnings {
		p.warn(w)
	}
	p.remark("VM %s: %s snapshot %s\n", r.VM, r.Kind, r.Name)
	p.remark("  %-9s %s\n", "quiesced", r.Quiesced)
	for _, d := range r.Disks {
		if d.File == "" {
			p.remark("  %-9s %s: inside of %s\n", "disk", d.Target, d.Image)
			continue
		}
		p.remark("  %-9s %s: %s, under %s\n", "disk", d.Target, d.Image, d.File)
	}
	for _, note := range r.Notes {
		p.remark("  %-9s %s\n", "note", note)
	}
	p.remark("  %-9s vaultfs vm revert-snapshot %s %s\n", "go back", shellWord(r.VM), shellWord(r.Name))
	p.remark("  %-9s vaultfs vm delete-snapshot %s %s\n", "delete", shellWord(r.VM), shellWord(r.Name))
}

type deletedVMSnapshotJSON struct {
	Event string   `json:"event"` // "deleted" or "reverted"
	VM    string   `json:"vm"`
	Name  string   `json:"name"`
	Kind  string   `json:"kind"`
	Done  []string `json:"done"` // step by step
}

func (p *printer) revertedVMSnapshot(r *vm.RevertResult) {
	if p.json {
		p.object(deletedVMSnapshotJSON{"reverted", r.VM, r.Name, r.Kind, list(r.Done)})
		return
	}
	for _, what := range r.Done {
		p.remark("%s\n", what)
	}
	p.remark("set the VM %s back to the snapshot %s; it is shut off\n", r.VM, r.Name)
}

func (p *printer) deletedVMSnapshot(r *vm.DeleteResult) {
	if p.json {
		p.object(deletedVMSnapshotJSON{"deleted", r.VM, r.Name, r.Kind, list(r.Done)})
		return
	}
	for _, what := range r.Done {
		p.remark("%s\n", what)
	}
	p.remark("deleted the snapshot %s of the VM %s\n", r.Name, r.VM)
}

// vmOutcomes sums up a run over several VMs.
func (p *printer) vmOutcomes(list []vmOutcome) {
	if p.json {
		p.object(vmsJSON{"vms", list})
		return
	}
	t := newTable("VM", "MODE", "READ", "STORED", "SNAPSHOT", "OUTCOME")
	for _, o := range list {
		outcome, snapshot := "backed up", o.Snapshot
		if o.Mode == modeSnapshot {
			outcome = "snapshot made, not a backup"
		} else {
			snapshot = snapshot[:min(8, len(snapshot))]
		}
		switch {
		case !o.Done:
			outcome = "FAILED: " + o.Error
		case o.Warnings > 0:
			outcome = "with " + count(int64(o.Warnings), "warning")
		}
		if !o.Done {
			t.AppendRow(table.Row{o.VM, "", "", "", "", outcome})
			continue
		}
		t.AppendRow(table.Row{o.VM, o.Mode, iec(o.Read), iec(o.Stored), snapshot, outcome})
	}
	p.table(t)
}

// recovered tells what was set right.
func (p *printer) recovered(list []vm.Recovered) {
	if p.json {
		j := []recoveredJSON{}
		for _, r := range list {
			one := recoveredJSON{VM: r.VM, UUID: r.UUID, Done: append([]string{}, r.Done...)}
			if r.Err != nil {
				one.Error = r.Err.Error()
			}
			j = append(j, one)
		}
		p.object(j)
		return
	}
	if len(list) == 0 {
		p.remark("nothing is left to be set right\n")
	}
	for _, r := range list {
		for _, what := range r.Done {
			p.text("%s: %s\n", vmLabel(r), what)
		}
		switch {
		case r.Err != nil:
			p.warn(fmt.Sprintf("%s: %v", vmLabel(r), r.Err))
		case len(r.Done) == 0:
			p.text("%s: it is as it was found\n", vmLabel(r))
		}
	}
}

func vmLabel(r vm.Recovered) string {
	if r.VM != "" {
		return "VM " + r.VM
	}
	return "VM " + r.UUID
}
