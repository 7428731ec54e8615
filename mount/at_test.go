package mount

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// place is a path that no host has.
const place = "/workdir-test/place"

// command is a command that runs until its standard input ends. It prints "ready" and then
// the output of script, which is returned.
func command(t *testing.T, cmd *exec.Cmd) (said string, end func()) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("command: %v", err)
		}
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil:
			end()
			t.Fatalf("command: %v after %q", err, said)
		case line == "ready\n":
			return said, end
		}
		said += line
	}
}

// atBoth runs a test with a mount and with a plain directory.
func atBoth(t *testing.T, test func(*testing.T, *fixture)) {
	for name, plain := range map[string]bool{"mount": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.plain = plain
			test(t, f)
		})
	}
}

// Commands in several workspaces see them at one path at the same time, and the host has
// nothing there before and after.
func TestAtOnePathAtOnce(t *testing.T) {
	atBoth(t, func(t *testing.T, f *fixture) {
		for _, key := range []string{"one", "two"} {
			m := f.open(key, &Options{At: place + "/."})
			if got := m.CommandPath("a"); got != place+"/a" {
				t.Errorf("CommandPath = %q", got)
			}
			said, end := command(t, Command(t.Context(), m, "sh", "-c", `pwd; pwd -P; echo "$1" >`+place+`/name; mkdir -p a/b; ls; echo ready; cat >>name`, "sh", key))
			defer end()
			if want := place + "\n" + place + "\na\nname\n"; said != want {
				t.Errorf("the command printed %q, want %q", said, want)
			}
			if got, err := os.ReadFile(m.Path("name")); err != nil || string(got) != key+"\n" {
				t.Errorf("the program reads %q, %v", got, err)
			}
			if out, err := CommandIn(t.Context(), m, "a/b", "pwd").CombinedOutput(); err != nil || string(out) != place+"/a/b\n" {
				t.Errorf("in a directory: %q, %v", out, err)
			}
		}
		if _, err := os.Lstat("/workdir-test"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the host has %s: %v", "/workdir-test", err)
		}
	})
}

// In a root directory that was made up everything is as outside, and nothing is lost in it.
func TestAtAPathThatIsMadeUp(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{At: place})
	out, err := Command(t.Context(), m, "sh", "-c", `cd / && find . -maxdepth 1 -printf '%f %y %l\n' | sort; touch /new`).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), "Read-only file system") {
		t.Errorf("touch /new: %v, want EROFS", err)
	}
	want, err := exec.Command("sh", "-c", `cd / && (find . -maxdepth 1 -printf '%f %y %l\n'; echo "$1 d ") | sort`, "sh", filepath.Base("/workdir-test")).Output()
	if err != nil || string(out) != string(want) {
		t.Errorf("the root has\n%s\nwant\n%s%v", out, want, err)
	}
	f.close(m, false)
}

// A directory that is there is covered for the command alone, and its parent stays as it
// is; a read-only workspace stays read-only.
func TestAtADirectory(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "content")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "covered"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{dir, link} {
		m := f.open("k", &Options{At: at, ReadOnly: true})
		out, err := Command(t.Context(), m, "sh", "-c", `ls "$1"; touch "$1.new"; ! touch new 2>/dev/null`, "sh", at).CombinedOutput()
		if err != nil || string(out) != "name\n" {
			t.Errorf("at %s: %q, %v", at, out, err)
		}
		if _, err := os.Stat(at + ".new"); err != nil {
			t.Errorf("beside the directory: %v", err)
		}
		f.close(m, false)
	}
	if _, err := os.Stat(filepath.Join(dir, "covered")); err != nil {
		t.Errorf("the directory outside: %v", err)
	}
}

// What a command leaves behind has the mount in its namespace, and keeps it busy.
func TestAtKeepsBusy(t *testing.T) {
	for name, script := range map[string]string{
		"mount namespace":   `cd /; exec sleep 1000`,
		"working directory": `exec sleep 1000`,
		"descriptor":        `exec 3>held; cd /; exec sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", &Options{At: place})
			said, end := command(t, Command(t.Context(), m, "sh", "-c", `(`+script+`) >/dev/null & echo $!; echo ready; echo >made`))
			end()
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			_, err := m.Close(t.Context())
			var busy *BusyError
			if !errors.As(err, &busy) || len(busy.Processes) != 1 || busy.Processes[0].Use != name || busy.Processes[0].Name != "sleep" {
				t.Errorf("Close = %v, want busy by the %s of a process", err, name)
			}
			if out, err := exec.Command("kill", strings.TrimSpace(said)).CombinedOutput(); err != nil {
				t.Fatalf("kill %s: %s", said, out)
			}
			waitFor(t, "the mount to be closed", func() bool {
				_, err = m.Close(t.Context())
				return !errors.Is(err, ErrBusy)
			})
			if err != nil {
				t.Error(err)
			}
			if f.bytes("k") == nil {
				t.Error("nothing is stored once nobody uses it")
			}
		})
	}
}

// A namespace is a copy of all mounts. Once that of a command would have kept other
// workspaces from closing, as long as it ran.
func TestAtLeavesOtherWorkspacesAlone(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{At: place})
	other, named := f.open("other", nil), f.open("named", nil)
	f.write(other, "name", "content")
	f.write(named, "name", "content")
	cmd := Command(t.Context(), m, "sh", "-c", `ls "$1"; ls "$NAMED"; echo ready; cat`, "sh", other.Path())
	cmd.Env = append(os.Environ(), "NAMED="+named.Path())
	said, end := command(t, cmd)
	if said != "name\n" {
		t.Errorf("of the others the command sees %q, want the one that its environment names", said)
	}
	f.close(other, true)
	if _, err := named.Close(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("the other one is closed with %v, want busy by the command that has it", err)
	}
	end()
	f.close(named, true)
	f.close(m, false)
}

func TestAtRefused(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for at, word := range map[string]string{
		"relative":             "absolute path",
		"/":                    "absolute path",
		"/..":                  "absolute path",
		"/a\x00":               "absolute path",
		file:                   "not a directory",
		file + "/below":        "not a directory",
		dir + "/none/at/all":   "mkdir -p " + dir + "/none/at/all",
		"/proc/none":           "mkdir -p /proc/none",
		dir + "/../none-at-al": "mkdir -p " + filepath.Dir(dir) + "/none-at-al",
	} {
		m, err := f.tryOpen("k", &Options{At: at})
		if !errors.Is(err, ErrCannotMount) || !strings.Contains(err.Error(), word) {
			t.Errorf("Open at %q = %v, %v, want ErrCannotMount with %q", at, m, err, word)
		}
	}
}

// The shim says why it cannot do what it should, and runs nothing.
func TestAtInTheShimRefused(t *testing.T) {
	f := newFixture(t)
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := f.open("k", &Options{At: dir, Dir: t.TempDir(), AllowOther: true})
	for _, path := range []string{m.Path(), filepath.Dir(m.Path())} { // for another user
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	try := func(want string, attr *syscall.SysProcAttr) {
		t.Helper()
		cmd := Command(t.Context(), m, "touch", m.Path("file"))
		cmd.SysProcAttr = attr
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitCannotRun || !strings.Contains(string(out), want) {
			t.Errorf("command: %v, %s, want exit code %d and %q", err, out, exitCannotRun, want)
		}
		if left, err := os.ReadDir(m.Path()); err != nil || len(left) > 0 {
			t.Errorf("the command has run: %v, %v", left, err)
		}
	}
	try("add to it instead", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	try("mkdir -p "+dir, nil)
	f.close(m, false)
	try("was closed before", nil)
}

// Exit codes, standard files and the lookup in PATH are those of a command without At.
func TestAtTheCommandIsAnOrdinaryOne(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{At: place})
	f.write(m, "not-a-program", "")
	for name, want := range map[string]int{"no-such-command": exitNotFound, "./not-a-program": exitCannotRun, "false": 1} {
		cmd := Command(t.Context(), m, name)
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("command %s = %v, want exit code %d", name, err, want)
		}
	}
	cmd := Command(t.Context(), m, "sh", "-c", `cat; echo "$PWD" >&2; kill -KILL $$`)
	cmd.Stdin = strings.NewReader("input")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || string(out) != "input" || string(exit.Stderr) != place+"\n" ||
		exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("command = %q, %v", out, err)
	}
	f.close(m, false)
}
