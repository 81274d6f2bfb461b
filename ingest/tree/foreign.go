package tree

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelMade are the file systems whose files are no files: what they show is
// made up by the kernel when it is read. The numbers are those of statfs(2).
var kernelMade = map[int64]string{
	unix.ANON_INODE_FS_MAGIC:  "anon_inodefs",
	unix.AUTOFS_SUPER_MAGIC:   "autofs",
	unix.BINFMTFS_MAGIC:       "binfmt_misc",
	unix.BPF_FS_MAGIC:         "bpf",
	unix.CGROUP2_SUPER_MAGIC:  "cgroup2",
	unix.CGROUP_SUPER_MAGIC:   "cgroup",
	0x62656570:                "configfs",
	unix.DEBUGFS_MAGIC:        "debugfs",
	unix.DEVPTS_SUPER_MAGIC:   "devpts",
	unix.EFIVARFS_MAGIC:       "efivarfs",
	0x65735543:                "fusectl",
	unix.HUGETLBFS_MAGIC:      "hugetlbfs",
	0x19800202:                "mqueue",
	0x6e736673:                "nsfs",
	unix.PROC_SUPER_MAGIC:     "proc",
	unix.PSTOREFS_MAGIC:       "pstore",
	unix.RDTGROUP_SUPER_MAGIC: "resctrl",
	0x67596969:                "rpc_pipefs",
	unix.SECURITYFS_MAGIC:     "securityfs",
	unix.SELINUX_MAGIC:        "selinuxfs",
	unix.SMACK_MAGIC:          "smackfs",
	unix.SYSFS_MAGIC:          "sysfs",
	unix.TRACEFS_MAGIC:        "tracefs",
}

// foreign says why what is mounted on an open directory does not belong to the
// tree; "" if it does.
func (w *walk) foreign(h *handle, st *unix.Stat_t) string {
	if w.o.OneFileSystem && st.Dev != w.device {
		return "another file system, which --one-file-system leaves out"
	}
	var fs unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(h.fd, &fs) }); err != nil {
		return ""
	}
	if name := kernelMade[int64(fs.Type)]; name != "" {
		return fmt.Sprintf("%s, which the kernel makes up", name)
	}
	if int64(fs.Type) == unix.FUSE_SUPER_MAGIC && mountType(st.Dev) == "fuse.vaultfs" {
		return "a mount of vaultfs"
	}
	return ""
}

// mountType is the type of the file system with a device number, "" if it
// cannot be told. See proc_pid_mountinfo(5).
func mountType(device uint64) string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	number := fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) > 2 && fields[2] == number && len(kind) > 0 {
			return kind[0]
		}
	}
	return ""
}
