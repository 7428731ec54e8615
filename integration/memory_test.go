package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// memoryGroup is a control group with a memory limit, of version 1 or 2.
type memoryGroup struct {
	t      *testing.T
	dir    string
	limit  string // the file of the limit
	none   string // what stands there for no limit
	events string // the file that counts those killed for lack of memory
}

// newMemoryGroup makes a group of limit bytes below the root of the hierarchy, and
// sees to it that nothing of it is left.
func newMemoryGroup(t *testing.T, limit int64) *memoryGroup {
	t.Helper()
	needRoot(t)
	name := fmt.Sprintf("workdir-test-%d", os.Getpid())
	g := &memoryGroup{t: t, limit: "memory.limit_in_bytes", none: "-1", events: "memory.oom_control"}
	g.dir = filepath.Join("/sys/fs/cgroup/memory", name)
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g.limit, g.none, g.events = "memory.max", "max", "memory.events"
		g.dir = filepath.Join("/sys/fs/cgroup", name)
		delegateMemory(t)
	}
	must(t, os.Mkdir(g.dir, 0o755))
	t.Cleanup(g.end)
	g.write(g.limit, strconv.FormatInt(limit, 10))
	return g
}

// delegateMemory lets groups below the root of the second hierarchy have a limit. A root
// that is a container's must have no processes of its own for that (cgroups(7)).
func delegateMemory(t *testing.T) {
	t.Helper()
	const root = "/sys/fs/cgroup"
	enable := func() error {
		return os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	if enable() == nil {
		return
	}
	rest := filepath.Join(root, "workdir-test-rest")
	must(t, os.MkdirAll(rest, 0o755)) // it stays, with the processes that were in the root
	for _, pid := range strings.Fields(readFile(t, filepath.Join(root, "cgroup.procs"))) {
		_ = os.WriteFile(filepath.Join(rest, "cgroup.procs"), []byte(pid), 0) // it may have ended
	}
	must(t, enable())
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return string(b)
}

func (g *memoryGroup) write(name, value string) {
	g.t.Helper()
	must(g.t, os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0))
}

// killed is how many processes were killed for lack of memory.
func (g *memoryGroup) killed() string {
	g.t.Helper()
	for line := range strings.Lines(readFile(g.t, filepath.Join(g.dir, g.events))) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(count)
		}
	}
	g.t.Fatalf("%s does not count the killed", g.events)
	return ""
}

// release lets the processes of the group go on as if there were no limit: in one that
// is full they may wait for each other for ever.
func (g *memoryGroup) release() { g.write(g.limit, g.none) }

// end ends the remaining processes of the group, and removes it.
func (g *memoryGroup) end() {
	g.release()
	if !eventually(func() bool {
		for _, pid := range strings.Fields(readFile(g.t, filepath.Join(g.dir, "cgroup.procs"))) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = unix.Kill(n, unix.SIGKILL)
			}
		}
		return os.Remove(g.dir) == nil
	}) {
		g.t.Errorf("%s is still in use", g.dir)
	}
}

// diskDir makes a directory that is not in memory.
func diskDir(t *testing.T) string {
	t.Helper()
	for _, parent := range []string{"/tmp", "/var/tmp"} {
		var st unix.Statfs_t
		must(t, unix.Statfs(parent, &st))
		if st.Type == unix.TMPFS_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(parent, "wd")
		must(t, err)
		t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
		return dir
	}
	t.Fatal("there is no directory for temporary files on a disk")
	return ""
}

// in prepares a command of the env's user in the group, which root puts it into.
func (g *memoryGroup) in(e *env, cmd *exec.Cmd) *exec.Cmd {
	g.t.Helper()
	args := []string{"-ec", `echo $$ >"$0"; exec "$@"`, filepath.Join(g.dir, "cgroup.procs")}
	if e.uid != os.Geteuid() {
		id := strconv.Itoa(e.uid)
		args = append(args, "setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--")
	}
	in := exec.Command("sh", append(args, cmd.Args...)...)
	in.Env = cmd.Env
	return in
}

// Dirty pages of a mount count against the memory limit that its server has too. Once
// the kernel's own limit on them was lifted, and the server was killed, or waited for
// ever for memory that its own writing back was to free.
func TestSpillInAMemoryLimit(t *testing.T) {
	for _, p := range []serving{servings[0], servings[2]} {
		t.Run(p.name, func(t *testing.T) {
			e := p.env(t)
			g := newMemoryGroup(t, 160<<20)
			disk := diskDir(t)
			must(t, os.Chown(disk, e.uid, e.uid))
			cmd := e.command("exec", "--spill", disk, e.url("k"), "--", "sh", "-euc", `
				for i in 1 2 3; do dd if=/dev/zero of=f$i bs=1M count=120 conv=fsync status=none & done
				wait
				dd if=/dev/zero of=g bs=1M count=120 conv=fsync status=none
				du -cm --apparent-size f? g | tail -n 1`)
			patience := time.AfterFunc(2*time.Minute, g.release) // rather a failure than a hang
			out := mustRun(t, g.in(e, cmd))
			if !patience.Stop() {
				t.Error("it came to no end within its limit")
			}
			if out != "480\ttotal\n" {
				t.Errorf("the tools have written %q", out)
			}
			if killed := g.killed(); killed != "0" {
				t.Errorf("%s processes were killed for lack of memory", killed)
			}
		})
	}
}
