package integration

import (
	"strings"
	"testing"
)

// The containers of docs/kubernetes.md that are not root's: a user namespace with /dev/fuse,
// whose mount is FUSE, and one without device or capability, where a plain directory is asked
// for by name. Both see what the other stored.
func TestContainers(t *testing.T) {
	e := newEnv(t).as(someUser)
	contained := func(args ...string) []string {
		common := []string{"--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", workdirMount, workdirMount, "--bind", e.root, e.root, "--unshare-all", "--die-with-parent"}
		return append(common, args...)
	}
	const userNamespace, nothing = "a user namespace", "nothing"
	flags := map[string][]string{
		userNamespace: {"--dev-bind", "/dev/fuse", "/dev/fuse", "--uid", "0", "--gid", "0", "--cap-add", "CAP_SYS_ADMIN"},
		nothing:       {"--cap-drop", "ALL"},
	}
	in := func(container string, args ...string) (string, string, int) {
		cmd := e.command(args...)
		e.vars = append(e.vars, "TMPDIR=/tmp") // another one is not in the container
		return run(t, e.program("bwrap", append(contained(flags[container]...), cmd.Args...)...))
	}
	const script = `echo "$1" >>file; cat file; stat -f -c %T .`
	out, stderr, code := in(userNamespace, "exec", e.url("k"), "--", "sh", "-c", script, "sh", "one")
	if code != 0 || !strings.HasPrefix(out, "one\nfuse") {
		t.Fatalf("%s: exit code %d, %q, %q", userNamespace, code, out, stderr)
	}
	if _, stderr, code = in(nothing, "exec", e.url("k"), "--", "true"); code != 102 || !strings.Contains(stderr, "/dev/fuse") {
		t.Errorf("%s: exit code %d, %q", nothing, code, stderr)
	}
	out, stderr, code = in(nothing, "exec", "--plain", e.url("k"), "--", "sh", "-c", script, "sh", "two")
	if code != 0 || !strings.HasPrefix(out, "one\ntwo\n") || strings.Contains(out, "fuse") {
		t.Errorf("%s: exit code %d, %q, %q", nothing, code, out, stderr)
	}
	out, stderr, code = in(userNamespace, "exec", "--read-only", e.url("k"), "--", "cat", "file")
	if code != 0 || out != "one\ntwo\n" {
		t.Errorf("%s: exit code %d, %q, %q", userNamespace, code, out, stderr)
	}
}
