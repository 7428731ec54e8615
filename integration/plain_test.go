package integration

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// withoutFUSE is a namespace that has neither /dev/fuse nor fusermount3.
func (e *env) withoutFUSE() string {
	e.t.Helper()
	helper, err := exec.LookPath("fusermount3")
	if err != nil {
		e.t.Fatalf("%v: install fuse3", err)
	}
	return e.bareDev() + "mount --bind /dev/null " + helper + "\n"
}

// plainFiles makes files of every kind, and lists them in directories that differ in
// nothing that an archive keeps.
const (
	plainFiles = `
		mkdir -p dir/empty closed; echo content >file; ln file dir/second; chmod 640 file
		ln -s ../file dir/link; ln -s /nowhere dangling; mkfifo fifo; truncate -s 1M sparse; printf x >>sparse
		setfattr -n user.note -v value file; printf '#!/bin/sh\necho ran\n' >tool; chmod 755 tool
		touch -d '2001-02-03 04:05:06.123456789' file; chmod 555 closed; ./tool >ran`
	plainListing = `
		find . -mindepth 1 -type d -printf '%p %m %T@\n' -o -printf '%p %y %m %s %n %T@ %l\n' | sort
		find . -type f -exec sha256sum {} + | sort; getfattr -n user.note --only-values file`
)

// Where FUSE is not to be had, plain directories keep workspaces all the same, for
// every kind of user, and what they store is what a mount shows.
func TestPlainWithoutFUSE(t *testing.T) {
	for _, p := range servings {
		t.Run(p.name, func(t *testing.T) {
			e := p.env(t)
			bare := e.withoutFUSE()
			cmd := p.exec(e, nil, e.url("k"), "touch file")
			e.refused(e.inNamespace(bare, cmd), 102, "--plain")
			cmd = p.exec(e, []string{"--plain"}, e.url("k"), plainFiles+plainListing)
			want := mustRun(t, e.inNamespace(bare, cmd))
			cmd = p.exec(e, []string{"--plain"}, e.url("k"), plainListing)
			if got := mustRun(t, e.inNamespace(bare, cmd)); got != want {
				t.Errorf("plain again:\n%s\nas it was made:\n%s", got, want)
			}
			if got := mustRun(t, p.exec(e, nil, e.url("k"), plainListing)); got != want {
				t.Errorf("mounted:\n%s\nas it was made:\n%s", got, want)
			}
		})
	}
}

func TestDoctorWithoutFUSE(t *testing.T) {
	e := newEnv(t)
	out, stderr, code := run(t, e.inNamespace(e.withoutFUSE(), e.command("doctor")))
	if code != 102 || !strings.Contains(out, "plain directory") || !strings.Contains(out, "works without FUSE (--plain)") {
		t.Errorf("exit code %d, %s%s; want the way out", code, out, stderr)
	}
}

// A tool that lives on in another mount namespace is found by the files that it has.
func TestPlainToolInAnotherNamespace(t *testing.T) {
	e := newEnv(t)
	const script = `
		echo new >file; mkfifo "$1"
		unshare --mount --propagation private sh -c 'cd /; exec 3>>"$2"; echo $$ >"$1"; exec sleep 1000' sh "$1" "$PWD/file" >/dev/null 2>&1 &
		read -r pid <"$1"; rm "$1"`
	args := []string{"exec", "--plain", "--grace", "10ms", e.url("k"), "--", "sh", "-c", script, "sh", e.path("up")}
	e.refused(e.command(args...), 105, "sleep: descriptor", "nothing is stored")
	mustRun(t, e.command(append([]string{"exec", "--leftovers=kill"}, args[1:]...)...))
	for _, pid := range e.processes() {
		mustRun(t, exec.Command("kill", "-9", strconv.Itoa(pid)))
	}
	if got := e.mustExec(e.url("k"), "cat file"); got != "new\n" {
		t.Errorf("content = %q", got)
	}
}

// What its own owner may not read cannot be packed by an ordinary user. It is an error
// that names it, nothing is stored, and nothing stays.
func TestPlainUnreadable(t *testing.T) {
	for name, script := range map[string]string{
		"file":      "echo content >closed; chmod 0 closed",
		"directory": "mkdir closed; touch closed/file; chmod 0 closed",
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t).as(someUser)
			e.refused(e.command("exec", "--plain", e.url("k"), "--", "sh", "-c", script), 106, "closed", "permission denied", "nothing was stored")
		})
	}
}
