package main

import (
	"fmt"
	"log"
	"log/syslog"
	"os"
)

// openLog returns where a mount writes what goes wrong: the file that was
// named, standard error in the foreground, else the system's log.
func openLog(a *app, o mountOptions) (func(string), error) {
	switch {
	case o.log != "":
		f, err := os.OpenFile(o.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		l := log.New(f, "", log.LstdFlags)
		return func(line string) { l.Print(clean(line)) }, nil
	case !o.detached:
		return a.print.warn, nil
	}
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_WARNING, "vaultfs")
	if err != nil {
		// The mount is worth having all the same: a failed read still fails.
		return func(string) {}, nil
	}
	return func(line string) { _ = w.Warning(clean(line)) }, nil
}

// hasSystemLog tells whether a mount in the background can log.
func hasSystemLog() bool {
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_WARNING, "vaultfs")
	if err != nil {
		return false
	}
	return w.Close() == nil
}
