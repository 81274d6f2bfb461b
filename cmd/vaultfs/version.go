package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when the program is linked: -X main.version=1.2.
var version string

// programVersion is the version, or the commit that the program was built from.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "-dirty"
		}
	}
	if revision == "" {
		return "unknown"
	}
	return revision + modified
}

// program is what a snapshot says it was made by.
func program() string { return "vaultfs " + programVersion() }

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    `Print the version of this program and of the Go that it was built with.`,
		Example: `  vaultfs version`,
		Args:    exactly(0),
		RunE: func(*cobra.Command, []string) error {
			a.print.version(programVersion(), runtime.Version())
			return nil
		},
	}
}
