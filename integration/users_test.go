package integration

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Users of the tests: without a home and a run directory of the system's, as in
// many containers. fusermount3 wants a user to have a name.
const (
	someUser     = 65534 // nobody
	anotherUser  = 1     // daemon
	namelessUser = 54321
)

// as returns the env as another user has it, with a run directory and a home of
// its own. The store belongs to that user.
func (e *env) as(uid int) *env {
	e.t.Helper()
	needRoot(e.t)
	needOpenDevice(e.t)
	u := *e
	u.uid = uid
	name := "run-" + strconv.Itoa(uid)
	u.runDir = u.path(name)
	home := u.mkdir("home-" + strconv.Itoa(uid))
	u.vars = append(append([]string{}, e.vars...), "HOME="+home)
	if err := os.Chmod(u.root, 0o755); err != nil {
		e.t.Fatal(err)
	}
	if err := os.MkdirAll(u.runDir, 0o700); err != nil {
		e.t.Fatal(err)
	}
	for _, dir := range []string{u.runDir, u.storeDir, home} {
		if err := os.Chown(dir, uid, uid); err != nil {
			e.t.Fatal(err)
		}
	}
	return &u
}

// needOpenDevice makes /dev/fuse what it is on an ordinary host: for everybody.
func needOpenDevice(t *testing.T) {
	t.Helper()
	fi, err := os.Stat("/dev/fuse")
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() == 0o666 {
		return
	}
	if err := os.Chmod("/dev/fuse", 0o666); err != nil {
		t.Fatalf("/dev/fuse has mode %v, ordinary users need 0666, and it cannot be changed: %v", fi.Mode().Perm(), err)
	}
	t.Logf("/dev/fuse had mode %v: changed to 0666", fi.Mode().Perm())
}

// mountpointOf makes a directory of that user's own.
func (e *env) mountpointOf(uid int, name string) string {
	e.t.Helper()
	dir := e.mkdir(name)
	if err := os.Chown(dir, uid, uid); err != nil {
		e.t.Fatal(err)
	}
	return dir
}

// An ordinary user mounts by fusermount3.
func TestOrdinaryUser(t *testing.T) {
	e := newEnv(t).as(someUser)
	e.mustExec(e.url("k"), `echo hello >file && mkdir dir && cp /bin/true dir/tool && chmod 700 dir && ln -s file link`)
	got := e.mustExec(e.url("k"), `dir/tool && cat link && stat -c "%u %a" dir && grep " $PWD " /proc/self/mountinfo`)
	for _, want := range []string{"hello\n", "65534 700\n", " - fuse.workdir k-", "nosuid,nodev"} {
		if !strings.Contains(got, want) {
			t.Errorf("the second exec printed %q, want %q in it", got, want)
		}
	}
	fi, err := os.Stat(e.archive("k"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := ownerOf(fi); owner != someUser {
		t.Errorf("the archive belongs to %d, want %d", owner, someUser)
	}
}

// What root has stored an ordinary user reads as its own, and the other way
// round.
func TestWorkspaceOfAnotherUser(t *testing.T) {
	root := newEnv(t)
	user := root.as(someUser)
	root.mustExec(root.url("k"), `echo root >file && chmod 600 file && umask 077 && mkdir dir`)
	if err := os.Chmod(root.archive("k"), 0o644); err != nil {
		t.Fatal(err)
	}
	user.mustExec(user.url("k"), `test "$(cat file)" = root && echo user >dir/file`)
	if got := root.mustExec(root.url("k"), `cat dir/file && stat -c %u file dir/file`); got != "user\n0\n0\n" {
		t.Errorf("root finds %q", got)
	}
}

// defaultRunDir returns the run directory of a user who has no /run/user/UID. At the
// end of the test no session stays in it, and it goes if it was made for the
// test.
func defaultRunDir(t *testing.T, uid int) string {
	t.Helper()
	dir := "/tmp/workdir-" + strconv.Itoa(uid)
	_, before := os.Lstat(dir)
	t.Cleanup(func() {
		sessions := func() []string {
			left, _ := filepath.Glob(dir + "/s-*") // fails on a bad pattern only
			return left
		}
		if !eventually(func() bool { return len(sessions()) == 0 }) {
			t.Errorf("left in the run directory: %v", sessions())
		}
		if errors.Is(before, fs.ErrNotExist) {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	})
	return dir
}

// Without --run-dir a user without /run/user/UID gets a private directory in
// /tmp.
func TestDefaultRunDir(t *testing.T) {
	e := newEnv(t).as(someUser)
	runDir := defaultRunDir(t, someUser)
	got := mustRun(t, e.program(workdirMount, "exec", e.url("k"), "--", "sh", "-c", `pwd && stat -c %a "$1"`, "sh", runDir))
	if !strings.HasPrefix(got, runDir+"/mnt/k-") || !strings.HasSuffix(got, "\n700\n") {
		t.Errorf("mountpoint and mode of the run directory: %q", got)
	}
}

// A run directory that somebody else has prepared is not used.
func TestRunDirOfAnotherUser(t *testing.T) {
	e := newEnv(t).as(someUser)
	if err := os.Chown(e.runDir, anotherUser, anotherUser); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(e.runDir, 0o777); err != nil {
		t.Fatal(err)
	}
	e.refused(e.execCommand(e.url("k"), "true"), 102, "must be private")
}

// The owner of a mount and root command it from outside; others do not even see
// what is in it.
func TestCommandsOfOthers(t *testing.T) {
	root := newEnv(t)
	user, other := root.as(someUser), root.as(anotherUser)
	if err := os.Chown(root.storeDir, someUser, someUser); err != nil {
		t.Fatal(err)
	}
	dir := root.mountpointOf(someUser, "mnt")
	mustRun(t, user.command("mount", user.url("k"), dir))
	mustRun(t, user.program("sh", "-c", `echo content >"$1/file"`, "sh", dir))

	other.refused(other.program("ls", dir), 2, "Permission denied")
	for _, command := range []string{"status", "commit", "abandon", "umount"} {
		other.refused(other.program(workdirMount, "--run-dir", user.runDir, command, dir), 100, "another user")
	}
	var status struct {
		URL    string
		Marked bool
	}
	out := mustRun(t, root.program(workdirMount, "--run-dir", user.runDir, "--json", "status", dir))
	if err := json.Unmarshal([]byte(out), &status); err != nil || status.URL != user.url("k") || status.Marked {
		t.Errorf("status as root = %s, %v", out, err)
	}
	mustRun(t, user.command("commit", dir))
	out = mustRun(t, root.program(workdirMount, "--run-dir", user.runDir, "umount", dir))
	if !strings.HasPrefix(out, "stored 1 changed file") {
		t.Errorf("umount as root printed %q", out)
	}
	if got := user.mustExec(user.url("k"), "cat file"); got != "content\n" {
		t.Errorf("content = %q", got)
	}
}

// Root needs not know the run directory of a user who took the default one.
func TestRootFindsDefaultRunDir(t *testing.T) {
	root := newEnv(t)
	user := root.as(anotherUser)
	dir := root.mountpointOf(anotherUser, "mnt")
	defaultRunDir(t, anotherUser)
	mustRun(t, user.program(workdirMount, "mount", user.url("k"), dir))
	if out := mustRun(t, root.program(workdirMount, "status", dir)); !strings.Contains(out, user.url("k")) {
		t.Errorf("status as root printed %q", out)
	}
	mustRun(t, root.program(workdirMount, "umount", dir))
}

// Root of a user namespace mounts by itself.
func TestUserNamespace(t *testing.T) {
	for name, uid := range map[string]int{"root": 0, "ordinary user": someUser} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t).as(uid)
			inside := func(script string) string {
				cmd := e.execCommand(e.url("k"), script)
				return mustRun(t, e.program("unshare", append([]string{"-Urm"}, cmd.Args...)...))
			}
			inside(`test "$(id -u)" = 0 && echo hello >file`)
			if got := inside(`cat file && stat -c %u file`); got != "hello\n0\n" {
				t.Errorf("inside: %q", got)
			}
			if got := e.mustExec(e.url("k"), `cat file`); got != "hello\n" {
				t.Errorf("outside: %q", got)
			}
		})
	}
}

func TestUserWithoutName(t *testing.T) {
	e := newEnv(t).as(namelessUser)
	e.refused(e.execCommand(e.url("k"), "touch file"), 102, "/etc/passwd")
}
