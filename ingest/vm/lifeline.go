package vm

import (
	"io"
	"os"
	"os/exec"
	"syscall"
)

// lifeline is a process that thaws a guest if this one dies while the guest is frozen, whatever it dies of. It reads
// from a pipe that we hold: the end of the pipe, without a word before, is our death.
type lifeline struct {
	pipe io.WriteCloser
}

// lifelineScript tries again because the agent may still be busy with the order to freeze. $1 is the libvirt URI and $2
// the domain's UUID.
const lifelineScript = `read -r word && exit
for try in 1 2 3 4 5; do
	virsh -q -c "$1" domfsthaw "$2" && exit
	sleep 1
done`

// startLifeline needs sh and virsh. Without them, or if it does not start, there is no lifeline, which is a nil one:
// the next run then finds the guest frozen.
func startLifeline(uri, uuid string) *lifeline {
	if _, err := exec.LookPath("virsh"); err != nil {
		return nil
	}
	cmd := exec.Command("sh", "-c", lifelineScript, "sh", uri, uuid)
	cmd.Dir = "/" // hold no file system in use
	// Neither the terminal's Ctrl-C nor its hang-up must reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer theirs.Close()
	cmd.Stdin = theirs
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil
	}
	go cmd.Wait()
	return &lifeline{ours}
}

// end lets the process go; if the guest could not be thawed it tries that once more.
func (l *lifeline) end(thawed bool) {
	if l == nil {
		return
	}
	if thawed {
		io.WriteString(l.pipe, "thawed\n")
	}
	l.pipe.Close()
}
