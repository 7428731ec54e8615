package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// refused runs a command that must fail with an exit code and words that help.
// Afterwards the store is as it was, byte for byte, and nothing is left beside
// the archives. It returns what the command wrote to standard error.
func (e *env) refused(cmd *exec.Cmd, code int, words ...string) string {
	e.t.Helper()
	before := e.stored()
	stdout, stderr, got := run(e.t, cmd)
	if got != code {
		e.t.Errorf("%v: exit code %d, want %d\nstdout: %s\nstderr: %s", cmd.Args, got, code, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			e.t.Errorf("%v: stderr is %q, want %q in it", cmd.Args, stderr, w)
		}
	}
	if strings.Contains(stderr, "goroutine") {
		e.t.Errorf("%v: a stack trace: %s", cmd.Args, stderr)
	}
	if !maps.Equal(e.stored(), before) {
		e.t.Errorf("%v: the store has changed", cmd.Args)
	}
	return stderr
}

// stored is the content of every file in the store, locks left out.
func (e *env) stored() map[string]string {
	e.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(e.storeDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "/.workdir/lock") {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return files
}

// storeOn makes the store a tmpfs of its own, which the test can fill or make
// read-only.
func (e *env) storeOn(options string) {
	e.t.Helper()
	needRoot(e.t)
	if err := unix.Mount("tmpfs", e.storeDir, "tmpfs", 0, options); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		if left := e.litter(); len(left) > 0 {
			e.t.Errorf("left beside the archives: %v", left)
		}
		if err := unix.Unmount(e.storeDir, unix.MNT_DETACH); err != nil {
			e.t.Error(err)
		}
	})
}

func TestDiskFullAtCommit(t *testing.T) {
	e := newEnv(t)
	e.storeOn("size=1m")
	e.mustExec(e.url("k"), "echo base >file")
	e.refused(e.execCommand(e.url("k"), "head -c 4000000 /dev/urandom >file"), 106, "nothing was stored", "make room")
	e.refused(e.execCommand(e.url("new/k"), "head -c 4000000 /dev/urandom >file"), 106, "make room")
	if _, err := os.Stat(filepath.Dir(e.archive("new/k"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory that was made for the archive: %v, want it gone", err)
	}
	if got := e.mustExec(e.url("k"), "cat file; echo more >>file"); got != "base\n" {
		t.Errorf("content = %q", got)
	}
}

func TestReadOnlyStore(t *testing.T) {
	e := newEnv(t)
	e.storeOn("size=1m")
	e.mustExec(e.url("k"), "echo base >file")
	if err := unix.Mount("", e.storeDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	e.refused(e.execCommand(e.url("k"), "echo new >file"), 106, "nothing was stored", "read-only")
	e.refused(e.execCommand(e.url("new/k"), "echo new >file"), 106, "read-only")
	e.refused(e.command("rm", e.url("k")), 101, "read-only")
	if got := e.mustExec(e.url("k"), "cat file"); got != "base\n" {
		t.Errorf("content = %q", got)
	}
	if got := mustRun(t, e.command("exec", "--read-only", e.url("k"), "--", "cat", "file")); got != "base\n" {
		t.Errorf("content read-only = %q", got)
	}
}

// The store's directory goes away while the work is done.
func TestStoreRemovedMeanwhile(t *testing.T) {
	e := newEnv(t)
	e.mustExec(e.url("dir/k"), "echo base >file")
	_, stderr, code := e.exec(e.url("dir/k"), `echo new >file; rm -r "$1"`, filepath.Dir(e.archive("dir/k")))
	if code != 104 || !strings.Contains(stderr, "conflict") {
		t.Errorf("exit code %d, %s; want a conflict", code, stderr)
	}
	if e.bytes("dir/k") != nil {
		t.Error("an archive was stored")
	}
}

func TestPermissions(t *testing.T) {
	e := newEnv(t).as(someUser)
	e.mustExec(e.url("dir/k"), "echo base >file")
	dir := filepath.Dir(e.archive("dir/k"))
	tests := []struct {
		name   string
		path   string
		mode   fs.FileMode
		script string
		code   int
		word   string
	}{
		{"unreadable archive", e.archive("dir/k"), 0, "true", 101, "permission"},
		{"unsearchable directory", dir, 0o600, "true", 101, "permission"},
		{"unwritable directory", dir, 0o555, "echo new >file", 106, "permission"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, err := os.Stat(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(tt.path, tt.mode); err != nil {
				t.Fatal(err)
			}
			e.refused(e.execCommand(e.url("dir/k"), tt.script), tt.code, tt.word)
			if err := os.Chmod(tt.path, before.Mode()); err != nil {
				t.Fatal(err)
			}
		})
	}
	if got := e.mustExec(e.url("dir/k"), "cat file"); got != "base\n" {
		t.Errorf("content = %q", got)
	}
}

// inNamespace prepares a command of the env's user in a mount namespace that
// root has changed with a script.
func (e *env) inNamespace(setup string, cmd *exec.Cmd) *exec.Cmd {
	e.t.Helper()
	needRoot(e.t)
	args := []string{"--mount", "--propagation", "private", "sh", "-ec", setup + "\n" + `exec "$@"`, "sh"}
	if e.uid != os.Geteuid() {
		id := strconv.Itoa(e.uid)
		args = append(args, "setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--")
	}
	wrapped := exec.Command("unshare", append(args, cmd.Args...)...)
	wrapped.Env = cmd.Env
	return wrapped
}

// bareDev makes a /dev that has what programs need, and no fuse.
func (e *env) bareDev() string {
	return fmt.Sprintf(`
		mount -t tmpfs tmpfs %[1]s
		for n in null zero full random urandom tty; do touch %[1]s/$n; mount --bind /dev/$n %[1]s/$n; done
		mount --rbind %[1]s /dev
	`, e.mkdir("dev"))
}

func TestNoFuseDevice(t *testing.T) {
	tests := []struct{ name, setup, word string }{
		{"no device", "", "--device /dev/fuse"},
		{"no driver behind it", "mknod -m 666 /dev/fuse c 10 255", "modprobe fuse"},
		{"hidden by another device", "mknod -m 666 /dev/fuse c 1 3", "--device /dev/fuse"},
		{"not allowed", "mknod -m 600 /dev/fuse c 10 229", "chmod 0666 /dev/fuse"},
	}
	for _, uid := range []int{0, someUser} {
		e := newEnv(t).as(uid)
		for _, tt := range tests {
			if uid == 0 && tt.name == "not allowed" {
				continue // root may
			}
			t.Run(fmt.Sprintf("uid %d, %s", uid, tt.name), func(t *testing.T) {
				e := *e
				e.t = t
				e.refused(e.inNamespace(e.bareDev()+tt.setup, e.execCommand(e.url("k"), "touch file")), 102, tt.word)
			})
		}
	}
}

func TestNoHelper(t *testing.T) {
	helper, err := exec.LookPath("fusermount3")
	if err != nil {
		t.Fatalf("%v: install fuse3", err)
	}
	hide := "mount --bind /dev/null " + helper
	e := newEnv(t).as(someUser)
	e.refused(e.inNamespace(hide, e.execCommand(e.url("k"), "touch file")), 102, "apt-get install fuse3")

	// In a container it often is there and cannot become root.
	cmd := e.execCommand(e.url("k"), "touch file")
	e.refused(e.program("setpriv", append([]string{"--no-new-privs", "--"}, cmd.Args...)...), 102, "no-new-privileges")

	root := newEnv(t)
	mustRun(t, root.inNamespace(hide, root.execCommand(root.url("k"), "touch file")))
}

// A tool that lives on with a copy of the mount, in another mount namespace, can
// still write to it.
func TestToolInAnotherNamespace(t *testing.T) {
	e := newEnv(t)
	e.mustExec(e.url("k"), "echo base >file")
	const script = `
		echo new >file; mkfifo "$1"
		unshare --mount --propagation private sh -c 'cd /; echo $$ >"$1"; exec sleep 1000' sh "$1" >/dev/null 2>&1 &
		read -r pid <"$1"; rm "$1"; echo "$pid"`
	prepare := func(flags ...string) *exec.Cmd {
		args := append(append([]string{"exec", "--grace", "10ms"}, flags...), e.url("k"), "--", "sh", "-c", script, "sh", e.path("up"))
		return e.command(args...)
	}
	var out bytes.Buffer
	cmd := prepare()
	cmd.Stdout = &out
	e.refused(cmd, 105, "sleep: mount namespace", "nothing is stored")
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	mustRun(t, prepare("--leftovers=kill"))
	if got := e.mustExec(e.url("k"), "cat file"); got != "new\n" {
		t.Errorf("content = %q", got)
	}
}

// tarEntry is an entry of a hostile archive.
type tarEntry struct {
	name, link, content string
	kind                byte
}

func hostileArchive(t *testing.T, path string, entries ...tarEntry) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Size: int64(len(e.content)), Mode: 0o755}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// Archives that want to reach out of the mount are refused.
func TestHostileArchives(t *testing.T) {
	e := newEnv(t)
	outside := e.mkdir("outside")
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(name string) tarEntry { return tarEntry{name: name, kind: tar.TypeReg, content: "x"} }
	symlink := func(name, target string) tarEntry { return tarEntry{name: name, link: target, kind: tar.TypeSymlink} }
	tests := []struct {
		name, word string
		entries    []tarEntry
	}{
		{"climbs", "..", []tarEntry{file("../../../.." + outside + "/new")}},
		{"climbs from within", "..", []tarEntry{file("a/../../new")}},
		{"absolute and climbs", "..", []tarEntry{file("/.." + outside + "/new")}},
		{"through a symlink", "beneath", []tarEntry{symlink("d", outside), file("d/new")}},
		{"through two symlinks", "beneath", []tarEntry{symlink("a", outside), symlink("b", "a"), file("b/new")}},
		{"link to a file outside", "link", []tarEntry{{name: "l", link: secret, kind: tar.TypeLink}, file("l")}},
		{"link through a symlink", "link", []tarEntry{symlink("d", outside), {name: "l", link: "d/secret", kind: tar.TypeLink}}},
		{"device", "device", []tarEntry{{name: "null", kind: tar.TypeChar}}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := *e
			e.t = t
			key := fmt.Sprintf("k%d", i)
			hostileArchive(t, e.archive(key), tt.entries...)
			e.refused(e.execCommand(e.url(key), "true"), 103, tt.word)
			e.refused(e.command("mount", e.url(key), e.mkdir("mnt", key)), 103, tt.word)
		})
	}
	names, err := os.ReadDir(outside)
	content, readErr := os.ReadFile(secret)
	if err != nil || readErr != nil || len(names) != 1 || string(content) != "secret" {
		t.Errorf("outside: %v, %q, %v, %v; want the secret as it was", names, content, err, readErr)
	}
}

// An absolute name is one within the workspace, as GNU tar has it.
func TestAbsoluteNames(t *testing.T) {
	e := newEnv(t)
	outside := e.mkdir("outside")
	hostileArchive(t, e.archive("k"), tarEntry{name: outside + "/new", kind: tar.TypeReg, content: "x"})
	_, stderr, code := run(t, e.execCommand(e.url("k"), `test -f ".$1/new"`, outside))
	if code != 0 || !strings.Contains(stderr, "absolute") {
		t.Errorf("exit code %d, stderr %q, want a warning", code, stderr)
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("outside: %v, %v; want it empty", names, err)
	}
}

// A symbolic link that leads out is somebody's data: it is kept, and not
// followed by us.
func TestSymlinksThatLeadOut(t *testing.T) {
	e := newEnv(t)
	outside := e.mkdir("outside")
	hostileArchive(t, e.archive("k"), tarEntry{name: "out", link: outside, kind: tar.TypeSymlink})
	e.mustExec(e.url("k"), `test "$(readlink out)" = "$1" && touch file && rm out && ln -s "$1" out2`, outside)
	if got := e.mustExec(e.url("k"), "ls"); got != "file\nout2\n" {
		t.Errorf("names = %q", got)
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("outside: %v, %v; want it empty", names, err)
	}
}

// One CPU, for Go or for all.
func TestOneCPU(t *testing.T) {
	const script = `
		cp /bin/sh ./tool; mkdir d
		for i in 1 2 3 4 5 6 7 8; do ./tool -c 'cd d && head -c 300000 /dev/zero >f$1 && cp f$1 g$1 && ../tool -c "cmp f$1 g$1"' tool $i; done
		tar cf all.tar d && rm -r d && tar xf all.tar && ls d | wc -l`
	tests := []struct {
		name string
		wrap func(e *env, cmd *exec.Cmd) *exec.Cmd
	}{
		{"GOMAXPROCS=1", func(_ *env, cmd *exec.Cmd) *exec.Cmd {
			cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
			return cmd
		}},
		{"taskset", func(e *env, cmd *exec.Cmd) *exec.Cmd {
			return e.program("taskset", append([]string{"-c", "0"}, cmd.Args...)...)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			if got := mustRun(t, tt.wrap(e, e.execCommand(e.url("k"), script))); strings.TrimSpace(got) != "16" {
				t.Errorf("files = %q, want 16", got)
			}
			if got := mustRun(t, tt.wrap(e, e.execCommand(e.url("k"), "ls d | wc -l"))); strings.TrimSpace(got) != "16" {
				t.Errorf("files = %q, want 16", got)
			}
		})
	}
}
