package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// workdir measures the command: a client and a server process, and short-lived
// ones that speak to them.
type workdir struct {
	binary, source, dir string
}

func (*workdir) name() string { return "workdir" }

func (w *workdir) url() string  { return "file://" + w.dir + "/store/job" }
func (w *workdir) path() string { return filepath.Join(w.dir, "mnt") }

// do runs one of the command's commands and decodes what it prints.
func (w *workdir) do(out any, args ...string) (usage, error) {
	cmd := command(w.binary, append([]string{"--quiet", "--json", "--run-dir", filepath.Join(w.dir, "run")}, args...)...)
	b, err := cmd.Output()
	if err == nil && out != nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		return usage{}, fmt.Errorf("workdir-mount %s: %w", args[0], err)
	}
	return usageOf(cmd), nil
}

// mounted is what the command tells of a mount.
type mounted struct {
	ServerPID int   `json:"serverPid"`
	ClientPID int   `json:"clientPid"`
	Bytes     int64 `json:"bytes"`
}

func (w *workdir) commit(s *sample) error {
	if err := os.MkdirAll(w.path(), 0o755); err != nil {
		return err
	}
	var m mounted
	if _, err := w.do(&m, "mount", w.url(), w.path()); err != nil {
		return err
	}
	var err error
	if s.fill, err = seconds(func() error { return fill(w.source, w.path()) }); err != nil {
		return err
	}
	if _, err := w.do(nil, "commit", w.path()); err != nil {
		return err
	}
	watched := watch(m.ServerPID, m.ClientPID)
	var u usage
	s.commit, err = seconds(func() error {
		u, err = w.do(nil, "umount", w.path())
		return err
	})
	u = u.plus(watched.end())
	s.commitProcessor, s.commitMemory = u.processor, u.memory
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(w.dir, "store", "job.tar.gz"))
	if err == nil {
		s.archive = info.Size()
	}
	return err
}

func (w *workdir) open(s *sample) error {
	start := time.Now()
	var m mounted
	u, err := w.do(&m, "mount", "--read-only", w.url(), w.path())
	if err != nil {
		return err
	}
	if err := list(w.path()); err != nil {
		return err
	}
	s.listed = time.Since(start).Seconds()
	client, server := processNow(m.ClientPID), processNow(m.ServerPID)
	s.openProcessor = u.plus(client).plus(server).processor
	if err := readAll(w.path()); err != nil {
		return err
	}
	s.read = time.Since(start).Seconds()
	s.openMemory = u.plus(processNow(m.ClientPID)).plus(processNow(m.ServerPID)).memory
	if _, err := w.do(&m, "status", w.path()); err != nil {
		return err
	}
	s.content = m.Bytes
	_, err = w.do(nil, "umount", w.path())
	return err
}

// processNow is processUsage of a process that is known to live.
func processNow(pid int) usage {
	u, err := processUsage(pid)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err) // the server has died, which the next command will say
	}
	return u
}
