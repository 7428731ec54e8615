package main

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// sample is the cost of one contender in one round. Times are wall-clock seconds; processor
// seconds are of all its processes; memory is in bytes, the sum of the peaks of its processes.
type sample struct {
	fill                    float64 // cp -a of the tree into the workspace
	commit, commitProcessor float64
	commitMemory            int64
	listed                  float64 // open until the first listing
	read                    float64 // open until everything was read
	openProcessor           float64 // until the first listing
	openMemory              int64   // until everything was read
	content                 int64   // the tree in memory, in addition to the processes
	archive                 int64
}

// usage is the resource usage of a process so far, or until its end.
type usage struct {
	processor float64 // user and system, in seconds
	memory    int64   // peak of the resident set, in bytes
}

func (u usage) plus(v usage) usage {
	return usage{processor: u.processor + v.processor, memory: u.memory + v.memory}
}

// usageOf is the usage of a child that has ended.
func usageOf(cmd *exec.Cmd) usage {
	state := cmd.ProcessState
	u := usage{processor: (state.UserTime() + state.SystemTime()).Seconds()}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.memory = ru.Maxrss << 10 // getrusage(2) counts KiB
	}
	return u
}

// seconds measures how long fn takes.
func seconds(fn func() error) (float64, error) {
	start := time.Now()
	err := fn()
	return time.Since(start).Seconds(), err
}

// command runs a program with our standard error.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// fill copies the source tree into a directory, as a user would.
func fill(source, dir string) error {
	return command("cp", "-a", source, filepath.Join(dir, "src")).Run()
}

// list reads the first two levels of a workspace.
func list(dir string) error {
	if _, err := os.ReadDir(dir); err != nil {
		return err
	}
	_, err := os.ReadDir(filepath.Join(dir, "src"))
	return err
}

// readAll reads every file.
func readAll(dir string) error {
	buf := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, buf)
		return err
	})
}
