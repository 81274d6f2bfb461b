package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

// profiles are where a run's profiles go: hidden flags, for those who measure.
type profiles struct{ cpu, memory string }

// start begins to profile. What it returns ends that and writes the files; it is
// called once.
func (p *profiles) start() (stop func() error, err error) {
	cpu, err := p.startCPU()
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(cpu(), p.writeMemory()) }, nil
}

func (p *profiles) startCPU() (stop func() error, err error) {
	if p.cpu == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(p.cpu)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profiling the CPU: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// writeMemory writes all that was allocated so far, and what of it is in use.
func (p *profiles) writeMemory() error {
	if p.memory == "" {
		return nil
	}
	f, err := os.Create(p.memory)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
