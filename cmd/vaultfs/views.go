package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"vaultfs/ingest/vm"
	"vaultfs/repo"
	"vaultfs/restore"
)

// One function for each thing that a command has to tell, as text and as JSON.

// done tells of something that is done.
func (p *printer) done(what, key string) {
	if p.json {
		p.object(doneJSON{what, key})
		return
	}
	p.remark("%s\n", what)
}

func (p *printer) version(version, goVersion string) {
	if p.json {
		p.object(versionJSON{version, goVersion})
		return
	}
	p.text("vaultfs %s (%s)\n", version, goVersion)
}

func (p *printer) madeRepository(path string, r *repo.Repo, recovery string) {
	if p.json {
		p.object(initJSON{path, r.ID(), r.Encrypted(), recovery})
		return
	}
	p.remark("made the repository %s, ID %s\n", path, r.ID()[:16])
	switch {
	case !r.Encrypted():
		p.remark("it is not encrypted: anybody who can read its files can read what is backed up\n")
	case recovery == "":
		p.remark("without the password nobody can read it, you neither: write it down\n" +
			"against the loss of the key files: vaultfs key export FILE\n")
	default:
		p.remark("without the password nobody can read it, you neither: write it down\n"+
			"keep the recovery file %s apart from the repository\n", recovery)
	}
}

func (p *printer) keys(keys []repo.KeyInfo) {
	if p.json {
		j := []keyJSON{}
		for _, k := range keys {
			j = append(j, keyJSON(k))
		}
		p.object(j)
		return
	}
	t := newTable("", "ID", "CREATED", "LABEL")
	for _, k := range keys {
		mark := ""
		if k.Current {
			mark = "*"
		}
		t.AppendRow(table.Row{mark, k.ID, localTime(k.Created), k.Label})
	}
	p.table(t)
}

func (p *printer) sessions(sessions []repo.SessionInfo) {
	if p.json {
		j := []sessionJSON{}
		for _, s := range sessions {
			j = append(j, sessionJSON(s))
		}
		p.object(j)
		return
	}
	t := newTable("ID", "KIND", "SINCE", "HOST", "PID", "ALIVE", "PURPOSE")
	for _, s := range sessions {
		t.AppendRow(table.Row{s.ID[:min(8, len(s.ID))], s.Kind, localTime(s.Since), s.Host, s.PID, yesNo(s.Alive), s.Purpose})
	}
	p.table(t)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func (p *printer) snapshots(all []*repo.Snapshot) {
	if p.json {
		j := []snapshotJSON{}
		for _, s := range all {
			j = append(j, toSnapshotJSON(s))
		}
		p.object(j)
		return
	}
	if len(all) == 0 {
		p.remark("there are no snapshots yet\n")
		return
	}
	t := newTable("ID", "TIME", "SOURCE", "ITEMS", "SIZE", "NEW", "STORED", "VERIFIED")
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 5, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 6, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 7, Align: text.AlignRight, AlignHeader: text.AlignRight},
	})
	for _, s := range all {
		t.AppendRow(table.Row{s.Short(), localTime(s.Time), s.Source, itemNames(s), iec(s.Size()),
			iec(s.Info.Summary.BytesNew), iec(s.Info.Summary.BytesStored), yesNo(wasVerified(s))})
	}
	p.table(t)
}

// wasVerified tells whether what was written was read back. The ingesters say
// "not …" when it was not.
func wasVerified(s *repo.Snapshot) bool {
	return s.Info.Verified != "" && !strings.HasPrefix(s.Info.Verified, "not ")
}

func itemNames(s *repo.Snapshot) string {
	var names []string
	for _, it := range s.Items {
		names = append(names, it.Name)
	}
	const most = 4
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return strings.Join(names, " ")
}

func (p *printer) snapshot(s *repo.Snapshot) {
	if p.json {
		p.object(toSnapshotJSON(s))
		return
	}
	t := newTable()
	fact := func(name, value string) {
		if value != "" {
			t.AppendRow(table.Row{name, value})
		}
	}
	fact("snapshot", s.ID)
	fact("source", fmt.Sprintf("%s (number %d)", s.Source, s.Seq))
	fact("time", fmt.Sprintf("%s (%s)", localTime(s.Time), s.Time.UTC().Format(time.RFC3339)))
	fact("previous", s.Previous)
	fact("host", s.Info.Host)
	fact("machine", s.Info.Machine)
	fact("made by", s.Info.Program)
	fact("mode", s.Info.Mode)
	fact("method", s.Info.Method)
	fact("quiesced", s.Info.Quiesced)
	fact("verified", s.Info.Verified)
	fact("read", readFact(s))
	fact("new", newFact(s))
	for _, note := range s.Info.Notes {
		fact("note", note)
	}
	p.table(t)
	t = newTable("ITEM", "KIND", "BYTES", "FORMAT", "FROM", "NOTE")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	for _, it := range s.Items {
		t.AppendRow(table.Row{it.Name, it.Kind, it.Size, it.Format, it.Path, it.Note})
	}
	p.text("\n")
	p.table(t)
	t = newTable()
	for _, it := range s.Items {
		if it.How != "" {
			t.AppendRow(table.Row{it.Name, howFact(it)})
		}
		if it.Checkpoint != "" {
			t.AppendRow(table.Row{it.Name, "the next backup can start from the checkpoint " + it.Checkpoint})
		}
	}
	if t.Length() > 0 {
		p.text("\n")
		p.table(t)
	}
}

// howFact tells how much of a disk was read, and why.
func howFact(it repo.Item) string {
	dirty := ""
	if it.Dirty > 0 {
		dirty = fmt.Sprintf(", %s called changed", iec(it.Dirty))
	}
	return fmt.Sprintf("%s; %s read%s, %s new, stored as %s", it.How, iec(it.Read), dirty, iec(it.New), iec(it.Stored))
}

func readFact(s *repo.Snapshot) string {
	m := s.Info.Summary
	took := time.Duration(m.Milliseconds) * time.Millisecond
	fact := fmt.Sprintf("%s of %s in %s", iec(m.BytesRead), iec(m.BytesTotal), round(took))
	if took > 0 && m.BytesRead > 0 {
		fact += fmt.Sprintf(", %s/s", iec(int64(float64(m.BytesRead)/took.Seconds())))
	}
	return fact
}

// newFact tells what was stored, and how much less that is than what was read.
func newFact(s *repo.Snapshot) string {
	m := s.Info.Summary
	fact := fmt.Sprintf("%s in %d of %d chunks, stored as %s", iec(m.BytesNew), m.ChunksNew, m.ChunksTotal, iec(m.BytesStored))
	if m.BytesStored > 0 && m.BytesRead > m.BytesStored {
		fact += fmt.Sprintf(", %.1f times less than was read", float64(m.BytesRead)/float64(m.BytesStored))
	}
	return fact
}

func round(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// outcome tells of a snapshot that was just committed, and how to get it back.
func (p *printer) outcome(o outcome, repoPath string) {
	s := o.snapshot
	if p.json {
		p.object(ingestJSON{
			Event: "summary", Snapshot: s.ID, Source: s.Source, summaryJSON: toSummaryJSON(s), Verified: s.Info.Verified,
			Mode: s.Info.Mode, Method: s.Info.Method, Quiesced: o.quiesced, FrozenSeconds: o.frozen, DownSeconds: o.down, Notes: o.remarks(), Warnings: list(o.warnings),
			Items: toItemsJSON(s), GetBack: getBack(s, repoPath),
		})
		return
	}
	for _, w := range o.warnings {
		p.warn(s.Source + ": " + w)
	}
	p.remark("%s: snapshot %s of %s\n", s.Source, s.Short(), localTime(s.Time))
	fact := func(name, value string) {
		if value != "" {
			p.remark("  %-9s %s\n", name, value)
		}
	}
	fact("read", readFact(s))
	fact("new", newFact(s))
	fact("verified", s.Info.Verified)
	fact("quiesced", o.quiesced)
	for _, it := range s.Items {
		if it.How != "" {
			fact("disk", it.Name+": "+howFact(it))
		}
		fact("note", prefixed(it.Name+": ", it.Note))
	}
	for _, note := range o.remarks() {
		fact("note", note)
	}
	fact("get back", getBack(s, repoPath))
}

// getBack is the command that restores a snapshot: the whole VM, or its files.
func getBack(s *repo.Snapshot, repoPath string) string {
	path, err := filepath.Abs(repoPath)
	if err != nil {
		path = repoPath
	}
	how := "--to restored-" + s.Short()
	if name, ok := strings.CutPrefix(s.Source, "vm/"); ok && s.Item("domain.xml") != nil {
		how = "--define --name " + shellWord(strings.ReplaceAll(name, "/", "-")+"-restored") // libvirt allows no slash
	}
	return fmt.Sprintf("vaultfs -r %s restore %s %s", shellWord(path), s.Short(), how)
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

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// shellWord writes a string so that a shell takes it as one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (p *printer) entries(entries []entry) {
	if p.json {
		j := []entryJSON{}
		for _, e := range entries {
			j = append(j, entryJSON{e.path, e.item.Name, e.item.Kind, e.format, e.size})
		}
		p.object(j)
		return
	}
	t := newTable("BYTES", "PATH")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 1, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	for _, e := range entries {
		t.AppendRow(table.Row{e.size, e.path})
	}
	p.table(t)
}

// kept tells what is there after a restore that failed on the way.
func (p *printer) kept(written []*restore.Written) {
	if p.json {
		return // the error follows on standard error; what is whole is seen in the directory
	}
	for _, w := range written {
		p.remark("restored %s\n", w.Path)
	}
}

func (p *printer) restored(s *repo.Snapshot, written []*restore.Written, took time.Duration) {
	if p.json {
		p.object(restoreJSON{"summary", s.ID, toWrittenJSON(written), took.Seconds()})
		return
	}
	p.writtenFiles(written)
	p.remark("snapshot %s of %s, %s, in %s\n", s.Short(), s.Source, localTime(s.Time), round(took))
}

func (p *printer) mounted(repoPath, dir string, pid int) {
	if p.json {
		p.object(mountJSON{"mounted", dir, pid})
		return
	}
	p.remark("the snapshots of %s are in %s; end it with: vaultfs umount %s\n", repoPath, dir, shellWord(dir))
}

// proof tells what verify has proved and found. Findings are never left out.
func (p *printer) proof(f *proof) {
	depth := "structure"
	if f.readData {
		depth = "data"
	}
	if p.json {
		p.object(proofJSON{verifyJSON{"summary", depth, max(0, f.qemu), f.Snapshots, f.Items, f.Packs, f.Chunks, f.Bytes, f.Unlisted,
			f.took.Seconds(), toFindingsJSON(append(f.Findings, f.images...))}, f.newer()})
		return
	}
	for _, finding := range f.Findings {
		p.finding(finding)
	}
	for _, image := range f.images {
		p.text("%s: %v\n", image.Object, image.Err)
	}
	p.remark("%s\n", f.proved())
	if f.qemu >= 0 {
		p.remark("qemu-img check: %s\n", count(int64(f.qemu), "disk"))
	}
	if f.Unlisted > 0 {
		p.remark("note: %s in no index, left by interrupted ingests; they harm nothing\n", count(int64(f.Unlisted), "pack"))
	}
	for _, newer := range f.newer() {
		p.text("%s: not looked at, nor what only it names; install a newer vaultfs to verify it\n", newer)
	}
	if n := f.damaged(); n > 0 {
		p.text("damage: %s; see above for what is lost\n", count(int64(n), "object"))
		return
	}
	if len(f.Newer) > 0 {
		p.text("no damage found in what this version knows, in %s; not all was looked at\n", round(f.took))
		return
	}
	p.remark("no damage found, in %s\n", round(f.took))
}

func (f *proof) proved() string {
	what := fmt.Sprintf("%s with %s", count(int64(f.Snapshots), "snapshot"), count(int64(f.Items), "item"))
	if f.readData {
		return fmt.Sprintf("structure and data: %s; %s in %s (%s) read and rehashed", what,
			count(f.Chunks, "chunk"), count(int64(f.Packs), "pack"), iec(f.Bytes))
	}
	if f.Packs == 0 {
		return fmt.Sprintf("structure: %s; the data was not read (--read-data does)", what)
	}
	return fmt.Sprintf("structure: %s; %s (%s) are there; the data was not read (--read-data does)", what,
		count(int64(f.Packs), "pack"), iec(f.Bytes))
}

// finding prints a damaged object, and what is lost with it.
func (p *printer) finding(f repo.Finding) {
	p.text("%s: %v\n", f.Object, f.Err)
	for _, t := range f.Touches {
		p.text("  %s  %s  %s  %s: %s lost\n", t.Snapshot.Short(), localTime(t.Snapshot.Time), t.Snapshot.Source, t.Item, iec(t.Bytes))
	}
	switch {
	case strings.HasPrefix(f.Object, "snapshot "):
		p.text("  this snapshot is lost; the others are not touched by it\n")
	case len(f.Touches) == 0:
		p.text("  no snapshot is known to lose anything by it\n")
	}
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
