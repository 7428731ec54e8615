package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/workspace"
)

func TestMain(m *testing.M) {
	mount.Init()
	if len(os.Args) > 1 && os.Args[1] == daemonName { // of a test that runs "mount" in this process
		main()
	}
	testscript.Main(m, map[string]func(){"workdir-mount": checkedMain, mountHelper: main, umountHelper: main, "count-interrupts": countInterrupts})
}

// countInterrupts is a command that counts each SIGINT it gets, until SIGTERM,
// and leaves the number in the file "count". A shell would take two that come
// together for one.
func countInterrupts() {
	sigs := make(chan os.Signal, 16)
	signal.Notify(sigs, unix.SIGINT, unix.SIGTERM)
	fmt.Println("ready")
	count := 0
	for sig := range sigs {
		if sig == unix.SIGTERM {
			break
		}
		count++
		fmt.Println("interrupted")
	}
	if err := os.WriteFile("count", []byte(strconv.Itoa(count)), 0o644); err != nil {
		panic(err)
	}
}

// Scripts run as root, since they mount, and each has a run directory of its
// own. A script that leaves a mount behind fails.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv(runDirVariable, filepath.Join(env.WorkDir, "run"))
			env.Setenv("STORE", filepath.Join(env.WorkDir, "store"))
			env.Setenv("TMPDIR", filepath.Join(env.WorkDir, ".tmp"))
			env.Defer(func() { detachBelow(env.T(), env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    scriptCode,
			"mounted": scriptMounted,
			"gone":    scriptGone,
			"fifo":    scriptFIFO,
			"socket":  scriptSocket,
			"mkdirs":  scriptMkdirs,
			"commits": scriptCommits,

			"commit-id": scriptCommitID,
		},
	})
}

// scriptCode runs a program and compares its exit code: code N PROGRAM ARG...
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptMounted checks that a workspace is mounted: [!] mounted DIR
func scriptMounted(ts *testscript.TestScript, neg bool, args []string) {
	for _, dir := range args {
		if is := len(mountsBelow(ts.MkAbs(dir))) > 0; is == neg {
			ts.Fatalf("%s: mounted is %v", dir, is)
		}
	}
}

// scriptGone waits until nothing is mounted at or below a directory: gone DIR
func scriptGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone dir")
	}
	table, err := os.Open("/proc/self/mountinfo")
	ts.Check(err)
	defer table.Close()
	for len(readMounts(table, ts.MkAbs(args[0]))) > 0 {
		waitForChange(table)
	}
}

// scriptFIFO makes named pipes: fifo NAME...
func scriptFIFO(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(unix.Mkfifo(ts.MkAbs(name), 0o600))
	}
}

// scriptSocket makes sockets: socket NAME...
func scriptSocket(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(unix.Mknod(ts.MkAbs(name), unix.S_IFSOCK|0o600, 0))
	}
}

// scriptMkdirs makes directories with a mode: mkdirs MODE DIR...
func scriptMkdirs(ts *testscript.TestScript, neg bool, args []string) {
	mode, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, dir := range args[1:] {
		ts.Check(os.Mkdir(ts.MkAbs(dir), os.FileMode(mode)))
	}
}

// scriptCommitID sets a variable to the id of a commit, counted from the newest one:
// commit-id URL N NAME
func scriptCommitID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: commit-id url n name")
	}
	log, _, err := workspace.Log(context.Background(), args[0])
	ts.Check(err)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for r := range log.All() {
		if n == 0 {
			ts.Setenv(args[2], string(r.ID))
		}
		n--
	}
}

// scriptCommits writes an archive whose log has the commits of a file of JSON, a
// line each, the oldest first: commits ARCHIVE FILE
func scriptCommits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: commits archive file")
	}
	var log *archive.Log
	in := json.NewDecoder(strings.NewReader(ts.ReadFile(args[1])))
	for in.More() {
		var r archive.Record
		ts.Check(in.Decode(&r))
		log = log.Next(r)
	}
	ts.Check(writeArchive(ts.MkAbs(args[0]), log))
}

func writeArchive(path string, log *archive.Log) error {
	home, err := fs.NewArenaHome(1 << 20)
	if err != nil {
		return err
	}
	defer home.Close()
	tree, err := fs.New(home, nil)
	if err != nil {
		return err
	}
	defer tree.Close()
	var out bytes.Buffer
	if _, err := archive.NewWriter(&out, nil).WriteTree(context.Background(), tree, log); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

func mountsBelow(dir string) []string {
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	defer table.Close()
	return readMounts(table, dir)
}

// readMounts returns the mountpoints at and below dir, the newest first.
func readMounts(table *os.File, dir string) []string {
	if _, err := table.Seek(0, 0); err != nil {
		return []string{err.Error()}
	}
	var found []string
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		path := strings.ReplaceAll(strings.Fields(lines.Text())[4], `\040`, " ")
		if path == dir || strings.HasPrefix(path, dir+"/") {
			found = append([]string{path}, found...)
		}
	}
	return found
}

func detachBelow(t testscript.T, dir string) {
	for _, path := range mountsBelow(dir) {
		if e, ok := t.(interface{ Errorf(string, ...any) }); ok {
			e.Errorf("%s is still mounted", path)
		}
		_ = unix.Unmount(path, unix.MNT_DETACH) // the test has failed already
	}
}
