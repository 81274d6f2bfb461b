package vm

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"vaultfs/internal/virt"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// jobEnd is how long libvirt may take to end a job that was aborted.
const jobEnd = 60 * time.Second

// jobXML describes a pull-mode backup of some disks; each is exported under its target's name. Of those that incremental
// names, by target, the bitmap of that checkpoint is exported too.
func jobXML(disks []disk, incremental map[string]string, s *scratch) (string, error) {
	list := make([]libvirtxml.DomainBackupPullDisk, len(disks))
	for i, d := range disks {
		list[i] = libvirtxml.DomainBackupPullDisk{
			Name:       d.target,
			Backup:     "yes",
			ExportName: d.target,
			Driver:     &libvirtxml.DomainBackupDiskDriver{Type: "qcow2"},
			Scratch:    &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: s.file(d.target)}},
		}
		if from := incremental[d.target]; from != "" {
			list[i].BackupMode, list[i].Incremental, list[i].ExportBitmap = "incremental", from, exportedBitmap(d.target)
		}
	}
	job := libvirtxml.DomainBackup{Pull: &libvirtxml.DomainBackupPull{
		Server: &libvirtxml.DomainBackupPullServer{UNIX: &libvirtxml.DomainBackupPullServerUNIX{Socket: s.socket()}},
		Disks:  &libvirtxml.DomainBackupPullDisks{Disks: list},
	}}
	return job.Marshal()
}

// exportedBitmap is the name that a disk's bitmap is exported under.
func exportedBitmap(target string) string { return "vaultfs-" + target }

// jobSocket is the socket of the domain's backup job; "" if it has no such job, or one that pushes.
func jobSocket(d *libvirt.Domain) (string, error) {
	text, err := d.BackupGetXMLDesc(0)
	if virt.IsCode(err, libvirt.ERR_NO_DOMAIN_BACKUP) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var job libvirtxml.DomainBackup
	if err := job.Unmarshal(text); err != nil {
		return "", fmt.Errorf("the backup job's XML: %w", err)
	}
	if job.Pull == nil || job.Pull.Server == nil || job.Pull.Server.UNIX == nil {
		return "", nil
	}
	return job.Pull.Server.UNIX.Socket, nil
}

// clearJob makes sure that the domain is free for a backup job. One that a killed run left is ended, and the guest goes
// on if it stalled because of it; the notes say so. One of a living process is an error that names it.
func clearJob(name, uuid string, d *libvirt.Domain) (notes []string, err error) {
	stats, err := d.GetJobStats(0)
	if err != nil {
		return nil, fmt.Errorf("VM %q: its jobs: %w", name, virt.Sentence(err))
	}
	if stats.Type == libvirt.DOMAIN_JOB_NONE {
		return nil, nil
	}
	if stats.Operation != libvirt.DOMAIN_JOB_OPERATION_BACKUP {
		return nil, fmt.Errorf("VM %q is busy: libvirt is running a job (%s) on it; try again when it has ended", name, operationName(stats.Operation))
	}
	socket, err := jobSocket(d)
	if err != nil {
		return nil, fmt.Errorf("VM %q: its backup job: %w", name, virt.Sentence(err))
	}
	dir := filepath.Dir(socket)
	if filepath.Base(dir) != dirPrefix+uuid {
		return nil, fmt.Errorf("VM %q is being backed up by another program%s: wait until that has ended, or end it with virsh domjobabort %s", name, at(socket), name)
	}
	s, err := lockScratch(dir)
	if err != nil {
		return nil, fmt.Errorf("VM %q: a backup job is running, its directory %s: %w", name, dir, err)
	}
	if err := endJob(d, s.socket()); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("VM %q: ending the backup job that a killed run left: %w", name, err)
	}
	notes = append(notes, "ended the backup job that a killed run of vaultfs had left")
	if err := s.remove(); err != nil {
		return nil, fmt.Errorf("VM %q: %w", name, err)
	}
	resumed, err := resumeStalled(d, name)
	if err != nil {
		return nil, fmt.Errorf("VM %q: %w", name, err)
	}
	if resumed {
		notes = append(notes, "resumed the guest, which had been paused since that job's scratch space was full")
	}
	return notes, nil
}

func at(socket string) string {
	if socket == "" {
		return ""
	}
	return fmt.Sprintf(" (socket %s)", socket)
}

func operationName(op libvirt.DomainJobOperationType) string {
	switch op {
	case libvirt.DOMAIN_JOB_OPERATION_SAVE:
		return "save"
	case libvirt.DOMAIN_JOB_OPERATION_MIGRATION_IN, libvirt.DOMAIN_JOB_OPERATION_MIGRATION_OUT:
		return "migration"
	case libvirt.DOMAIN_JOB_OPERATION_SNAPSHOT, libvirt.DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT, libvirt.DOMAIN_JOB_OPERATION_SNAPSHOT_DELETE:
		return "snapshot"
	case libvirt.DOMAIN_JOB_OPERATION_DUMP:
		return "memory dump"
	}
	return "unnamed"
}

// endJob ends the backup job with the given socket and waits until it is gone; a job of anybody else is left alone.
// libvirt removes the socket and the scratch files with it.
func endJob(d *libvirt.Domain, socket string) error {
	for deadline := time.Now().Add(jobEnd); ; {
		now, err := jobSocket(d)
		if virt.IsCode(err, libvirt.ERR_OPERATION_INVALID) || virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
			return nil // the domain has stopped, and the job with it
		}
		if err != nil {
			return virt.Sentence(err)
		}
		if now != socket {
			return nil
		}
		// The first call ends it, the others find it ending or gone; what counts is that it goes.
		err = d.AbortJob()
		if time.Now().After(deadline) {
			return fmt.Errorf("libvirt did not end the backup job within %v%s", jobEnd, because(err))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + strings.TrimSpace(virt.Sentence(err).Error())
}
