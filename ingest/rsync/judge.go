package rsync

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// Exit codes with which rsync has copied all that it could, see EXIT VALUES in
// rsync(1).
const (
	someNotCopied = 23
	someVanished  = 24
)

// meanings are the exit codes of rsync, with what to do about them.
var meanings = map[int]string{
	1:   "it did not understand its options: check those of --rsync-option and --rsh, and the source",
	2:   "the two rsyncs do not understand each other: install a newer one on the other host",
	3:   "the source, or the mirror, could not be entered",
	4:   "one of the two rsyncs cannot do what is asked of it, such as ACLs or extended attributes",
	5:   "the other host's rsync did not start: check its configuration and the password",
	6:   "the other host's rsync cannot write its log",
	10:  "the network connection failed",
	11:  "reading or writing a file failed: check the space and the health of the disk that the mirrors lie on",
	12:  "the connection ended early: check that rsync is installed on the other host and that nothing prints when one logs in there",
	13:  "its two halves cannot talk to each other",
	14:  "its two halves cannot talk to each other: check that the program of --rsh is there",
	20:  "it was interrupted",
	21:  "it lost its other half",
	22:  "memory did not suffice",
	25:  "it has deleted as much as --max-delete allows",
	30:  "nothing was heard of the other host for too long",
	35:  "the other host's rsync did not answer in time",
	124: "the command on the other host failed",
	125: "the command on the other host was killed",
	126: "the command on the other host cannot be run",
	127: "rsync was not found on the other host: install it there",
	255: "ssh could not connect: check the host's name, its key, and that you may log in without a password",
}

// unreadableSource is how the sending rsync says that the source itself cannot
// be entered or listed. Its exit code is that of single files.
var unreadableSource = regexp.MustCompile(`^rsync: (\[sender\] )?(change_dir "|opendir "[^"]*/\." failed)`)

// judge says what the end of rsync means. Where all but some files was copied,
// these are the warnings.
func (s *sayings) judge(err error) (warnings []string, _ error) {
	var exit *exec.ExitError
	if err == nil {
		return nil, nil
	}
	if !errors.As(err, &exit) {
		return nil, fmt.Errorf("rsync: %w", err)
	}
	code := exit.ExitCode()
	partly := code == someNotCopied || code == someVanished
	for _, line := range s.first {
		if partly && unreadableSource.MatchString(line) {
			return nil, fmt.Errorf("it cannot be read (%s): nothing was backed up", line)
		}
	}
	switch {
	case partly:
		return s.warnings(code), nil
	case code < 0:
		return nil, fmt.Errorf("rsync was killed (%w): nothing was backed up", err)
	}
	meaning, known := meanings[code]
	if !known {
		meaning = "see EXIT VALUES in rsync(1)"
	}
	return nil, fmt.Errorf("rsync failed with code %d, %s; it said: %s", code, meaning, strings.Join(s.last, "; "))
}

// summary is the line with which rsync ends, which says nothing of a file.
var summary = regexp.MustCompile(`^rsync (error|warning): .* \(code \d+\) at `)

// unread counts the warnings that are of what could not be copied. What was
// deleted meanwhile is not missing.
func unread(warnings []string) (n int64) {
	for _, w := range warnings {
		if !strings.HasPrefix(w, "file has vanished: ") {
			n++
		}
	}
	return n
}

func (s *sayings) warnings(code int) (list []string) {
	for _, line := range s.first {
		if !summary.MatchString(line) {
			list = append(list, line)
		}
	}
	if more := s.count - len(s.first); more > 0 {
		list = append(list, fmt.Sprintf("rsync wrote %d more lines, which are not shown here", more))
	}
	if len(list) == 0 {
		list = []string{fmt.Sprintf("rsync did not copy everything (code %d) and did not say what", code)}
	}
	return list
}
