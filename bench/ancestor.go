package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// ancestor measures the Python temporal-workdir over file://, in a separate process for each
// commit and open. The start of Python and its imports are not counted.
type ancestor struct {
	python, source, dir string
}

func (*ancestor) name() string { return "temporal-workdir" }

const ancestorCommit = `
import asyncio, json, os, subprocess, sys, time
from temporal_workdir import Workspace
url, source = sys.argv[1:]

async def main():
    ws = Workspace(url)
    await ws.pull()
    t0 = time.perf_counter()
    subprocess.run(["cp", "-a", source, ws.path / "src"], check=True)
    t1, c1 = time.perf_counter(), time.process_time()
    await ws.push()
    print(json.dumps({"fill": t1 - t0, "commit": time.perf_counter() - t1, "processor": time.process_time() - c1}))

asyncio.run(main())
`

const ancestorOpen = `
import asyncio, json, os, sys, time
from temporal_workdir import Workspace
url, = sys.argv[1:]

async def main():
    t0, c0 = time.perf_counter(), time.process_time()
    ws = Workspace(url, read_only=True)
    await ws.pull()
    os.listdir(ws.path), os.listdir(ws.path / "src")
    t1, c1 = time.perf_counter(), time.process_time()
    for root, _, names in os.walk(ws.path):
        for name in names:
            with open(os.path.join(root, name), "rb", buffering=0) as f:
                while f.read(1 << 20):
                    pass
    print(json.dumps({"listed": t1 - t0, "processor": c1 - c0, "read": time.perf_counter() - t0}))

asyncio.run(main())
`

// times are what the scripts print, in seconds.
type times struct {
	Fill, Commit, Listed, Read, Processor float64
}

func (a *ancestor) run(script string, args ...string) (times, usage, error) {
	tmp := filepath.Join(a.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return times{}, usage{}, err
	}
	cmd := command(a.python, append([]string{"-c", script, "file://" + a.dir + "/store/job"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.Output()
	var t times
	if err == nil {
		err = json.Unmarshal(out, &t)
	}
	if err != nil {
		return t, usage{}, fmt.Errorf("%s: %w", a.python, err)
	}
	return t, usageOf(cmd), os.RemoveAll(tmp)
}

func (a *ancestor) commit(s *sample) error {
	t, u, err := a.run(ancestorCommit, a.source)
	if err != nil {
		return err
	}
	s.fill, s.commit, s.commitProcessor, s.commitMemory = t.Fill, t.Commit, t.Processor, u.memory
	info, err := os.Stat(filepath.Join(a.dir, "store", "job.tar.gz"))
	if err == nil {
		s.archive = info.Size()
	}
	return err
}

func (a *ancestor) open(s *sample) error {
	t, u, err := a.run(ancestorOpen)
	s.listed, s.read, s.openProcessor, s.openMemory = t.Listed, t.Read, t.Processor, u.memory
	return err
}
