package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sharedMounts makes a mount namespace as systemd has it. In it the namespace of an
// ordinary user's command does not hold what is unmounted outside.
const sharedMounts = "mount --make-rshared /"

// With --at the path is the same wherever the workspace is mounted, and for ordinary
// users too, whose namespace is another kind.
func TestToolsAtAStablePath(t *testing.T) {
	for _, tool := range tools {
		if !slices.Contains([]string{"git", "CMake", "Python venv"}, tool.name) {
			continue
		}
		for _, uid := range []int{0, someUser} {
			t.Run(fmt.Sprintf("%s/user %d", tool.name, uid), func(t *testing.T) {
				e := newEnv(t)
				if uid != 0 {
					e = e.as(uid)
				}
				outside := e.mountpointOf(uid, "outside")
				for i, script := range []string{tool.work, tool.again} {
					dir := e.mountpointOf(uid, "mountpoint "+strconv.Itoa(i))
					cmd := e.command("exec", "--at", "/workdir-test/tools", "--dir", dir, e.url("tool"), "--", "sh", "-euc", script, "sh", outside)
					t.Log(mustRun(t, e.inNamespace(sharedMounts, cmd)))
				}
			})
		}
	}
}

// Any number of commands have workspaces at one path at once, as root and as ordinary users.
func TestAtOnePathAtOnce(t *testing.T) {
	for _, uid := range []int{0, someUser} {
		t.Run(strconv.Itoa(uid), func(t *testing.T) {
			e := newEnv(t)
			if uid != 0 {
				e = e.as(uid)
			}
			const number = 5
			arrived := e.mountpointOf(uid, "arrived")
			script := `
				exec_at() {
					` + workdirMount + ` exec --at /workdir-test "$1/job-$2" -- sh -euc '
						echo $2 >file
						: >"$1/$2"
						while [ $(ls "$1" | wc -l) -lt $3 ]; do test ! -e "$1/failed"; sleep 0.01; done
						test "$(cat /workdir-test/file)" = $2
						test "$(pwd)" = /workdir-test' sh "$3" $2 $4 || : >"$3/failed"
				}
				pids=
				for i in $(seq $3); do exec_at "$1" $i "$2" $3 & pids="$pids $!"; done
				wait $pids
				test ! -e "$2/failed"`
			cmd := e.program("sh", "-euc", script, "sh", "file://"+e.storeDir, arrived, strconv.Itoa(number))
			cmd.Env = append(cmd.Env, "WORKDIR_RUN_DIR="+e.runDir)
			mustRun(t, e.inNamespace(sharedMounts, cmd))
			for i := range number {
				if got := e.mustExec(e.url("job-"+strconv.Itoa(i+1)), "cat file"); got != strconv.Itoa(i+1)+"\n" {
					t.Errorf("workspace %d has %q", i+1, got)
				}
			}
		})
	}
}

// A command of an ordinary user is who it would be, with no capability more, and the
// signals and exit codes are those of other commands.
func TestAtAsOrdinaryUser(t *testing.T) {
	e := newEnv(t).as(someUser)
	at := func(script string) (string, string, int) {
		return run(t, e.inNamespace(sharedMounts, e.command("exec", "--at", "/workdir-test", e.url("k"), "--", "sh", "-c", script)))
	}
	out, stderr, code := at(`id -u; id -g; grep ^Cap /proc/self/status | grep -v Bnd; echo made >file; stat -c "%u %g" file`)
	want := "65534\n65534\n"
	for _, set := range []string{"Inh", "Prm", "Eff", "Amb"} {
		want += "Cap" + set + ":\t0000000000000000\n"
	}
	if want += "65534 65534\n"; out != want || code != 0 {
		t.Errorf("exit code %d, %q, want %q; %s", code, out, want, stderr)
	}
	if out, stderr, code := at(`cat file; kill -TERM $PPID; sleep 1000`); out != "made\n" || code != 128+15 {
		t.Errorf("after SIGTERM: exit code %d, %q, %q", code, out, stderr)
	}
	_, stderr, code = at(`cd /; sleep 1000 >/dev/null 2>&1 & echo $! >` + e.path("home-65534", "pid"))
	if code != 105 || !strings.Contains(stderr, "(sleep: mount namespace)") {
		t.Errorf("with a process left behind: exit code %d, %q", code, stderr)
	}
	mustRun(t, e.program("sh", "-c", `kill $(cat "$HOME/pid")`))
}

// Where mounts are private the namespace of an ordinary user's command would keep other
// workspaces from being stored, so the command does not run.
func TestAtBesideAnotherWorkspaceOfAnOrdinaryUser(t *testing.T) {
	e := newEnv(t).as(someUser)
	dir := e.mountpointOf(someUser, "other")
	beside := func(setup string) (string, string, int) {
		return run(t, e.inNamespace(setup, e.program("sh", "-c", `
			wm="$0 --run-dir $1"
			$wm mount --must-be-new "$2/other" "$3" || exit 99
			$wm exec --at /workdir-test "$2/k" -- echo ran
			code=$?
			echo content >"$3/file"
			$wm commit "$3" && $wm umount "$3" >/dev/null || exit 98
			exit $code`, workdirMount, e.runDir, "file://"+e.storeDir, dir)))
	}
	if out, stderr, code := beside(":"); code != 126 || out != "" || !strings.Contains(stderr, "mount --make-rshared /") {
		t.Errorf("exit code %d, %q, %q, want 126 and what root can do", code, out, stderr)
	}
	mustRun(t, e.command("rm", e.url("other")))
	if out, stderr, code := beside(sharedMounts); code != 0 || out != "ran\n" {
		t.Errorf("exit code %d, %q, %q", code, out, stderr)
	}
}

// Without user namespaces an ordinary user is told so before anything is mounted.
func TestAtWithoutUserNamespaces(t *testing.T) {
	e := newEnv(t).as(someUser)
	zero := e.path("zero")
	setup := "echo 0 >" + zero + "; mount --bind " + zero + " /proc/sys/user/max_user_namespaces"
	e.refused(e.inNamespace(setup, e.command("exec", "--at", "/workdir-test", e.url("k"), "--", "true")), 102, "user.max_user_namespaces is 0")
}
