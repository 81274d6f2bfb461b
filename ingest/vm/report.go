package vm

import (
	"fmt"
	"strings"
	"time"

	"vaultfs/repo"
)

// report is report.md of the snapshot: what a person wants to know who finds the snapshot years later, and how to get
// the guest back. It exists only if the snapshot was committed, and so only if what it tells of is true.
func (r *run) report(s *repo.Session) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	result := r.result
	line("# Backup of the VM %s", r.name)
	line("")
	line("| | |")
	line("|---|---|")
	line("| Snapshot | %s of %s |", s.ID(), r.source)
	line("| Time | %s |", time.Now().UTC().Format(time.RFC3339))
	line("| VM | %s, UUID %s |", r.name, r.uuid)
	line("| Mode | %s |", joinMethod(result))
	line("| Quiesced | %s |", result.Quiesced)
	line("| Verification | %s |", r.verification())
	line("| Checkpoint kept for the next backup | %s |", r.reportCheckpoint())
	line("| Program | %s |", r.options.Program)
	line("")
	line("## Disks")
	line("")
	line("Bytes. *Read*: from the VM. *Dirty*: what its dirty bitmap called changed. *New*: not in the repository before. *Stored*: those compressed and sealed.")
	line("")
	line("| Disk | Size | Read | Dirty | New | Stored | How | Image |")
	line("|---|---:|---:|---:|---:|---:|---|---|")
	for _, d := range result.Disks {
		how := d.How
		if d.Audited > 0 {
			how += fmt.Sprintf("; %d bytes that the bitmap calls clean were compared, and have not changed", d.Audited)
		}
		line("| %s | %d | %d | %d | %d | %d | %s | %s |", d.Target, d.Size, d.Read, d.Dirty, d.New, d.Stored, cell(how), cell(d.Path))
	}
	r.reportRemarks(line)
	r.reportRestore(line, s.ID()[:8])
	return b.String()
}

func (r *run) reportRemarks(line func(string, ...any)) {
	for _, part := range []struct {
		title string
		list  []string
	}{{"Warnings", r.result.Warnings}, {"Notes", r.result.Notes}} {
		if len(part.list) == 0 {
			continue
		}
		line("")
		line("## %s", part.title)
		line("")
		for _, remark := range part.list {
			line("- %s", cell(remark))
		}
	}
}

// reportRestore gives the commands that bring back what is in the snapshot.
func (r *run) reportRestore(line func(string, ...any), short string) {
	line("")
	line("## Getting it back")
	line("")
	line("    vaultfs restore %s --define                 # the whole VM, under its own name", short)
	line("    vaultfs restore %s --define --name %s-restored --disk-dir /var/lib/libvirt/images --start", short, shellWord(r.name))
	for _, d := range r.result.Disks {
		line("    vaultfs restore %s:%s --to %s.qcow2", short, d.Target, d.Target)
	}
	line("    vaultfs mount /mnt/vault                    # or look into it, or boot its disks from there")
}

func joinMethod(result *Result) string {
	if result.Method == "" {
		return result.Mode
	}
	return fmt.Sprintf("%s, method %s", result.Mode, result.Method)
}

func (r *run) verification() string {
	if r.options.Verify {
		return "all that was written was read back and rehashed before the commit"
	}
	return "not read back (--no-verify)"
}

func (r *run) reportCheckpoint() string {
	name, why := r.keptCheckpoint()
	switch {
	case name == "":
		return "none: " + why
	case name != r.journal.entry.Checkpoint:
		return name + ", of an earlier backup"
	}
	return name
}

// cell is text for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(s)
}

// shellWord quotes a word for sh, if it must be.
func shellWord(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c)
	}
	if strings.TrimFunc(s, plain) == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
