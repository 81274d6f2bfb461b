package vm

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// lifeline is a process that thaws a guest if this one dies while the guest is frozen, whatever it dies of, or is stopped
// (SIGSTOP). It reads from a pipe that we hold: the end of the pipe without a word before is our death, and no word in
// time is our being stopped.
type lifeline struct {
	pipe io.WriteCloser
}

// lifelineWait is longer than a guest is ever kept frozen by a process that is well.
const lifelineWait = agentTimeout + 2*time.Second

// lifelineScript tries again because the agent may still be busy with the order to freeze. $1 is the libvirt URI, $2
// the domain's UUID and $3 how many seconds there are for a word to come.
const lifelineScript = `timeout "$3" sh -c 'read -r word' && exit
for try in 1 2 3 4 5; do
	virsh -q -c "$1" domfsthaw "$2" && exit
	sleep 1
done`

// startLifeline needs sh, timeout and virsh.
func startLifeline(uri, uuid string, wait time.Duration) (*lifeline, error) {
	for _, program := range []string{"virsh", "timeout"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("the program %s is missing: install libvirt-clients and coreutils", program)
		}
	}
	cmd := exec.Command("sh", "-c", lifelineScript, "sh", uri, uuid, fmt.Sprint(wait.Seconds()))
	cmd.Dir = "/" // hold no file system in use
	// Neither the terminal's Ctrl-C nor its hang-up must reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd.Stdin = theirs
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, err
	}
	go cmd.Wait()
	return &lifeline{ours}, nil
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
