package examples

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/integration/internal/proc"
)

// shellBlock finds the lines for a shell in a document.
var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// The first command of the README failed for everybody. Its lines for a shell run as they
// are written, in a clone, by one shell; /srv and /usr/local/bin are a scratch of their own.
func TestReadmeShell(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		lines.WriteString(block[1])
	}
	tmp, err := os.MkdirTemp("/tmp", "wd") // short, since paths of sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	clone := filepath.Join(tmp, "workdir")
	cloneRoot(t, clone)
	cmd := exec.Command("unshare", "-m", "bash", "-c", proc.LeaveMounts+`; mount -t tmpfs none /srv && mount -t tmpfs none /usr/local/bin && export PATH=$GOBIN:$PATH && set -euxo pipefail && eval "$0"`, lines.String())
	cmd.Dir = clone
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "WORKDIR_RUN_DIR="+tmp+"/run", "GOBIN="+goBin(t))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	wantInOrder(t, string(out), "+ make build", "+ workdir-mount doctor", "ok ", "ARCHITECTURE.md\n", "# workdir\n", " created, 0 modified, 0 removed", "src/README.md\n")
}

// cloneRoot makes a git repository of the files of this one as they are now, not only as
// they were committed.
func cloneRoot(t *testing.T, to string) {
	t.Helper()
	script := `git ls-files -z --cached --others --exclude-standard | while IFS= read -rd '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
		tar -c --null -T - | tar -x -C "$0" && cd "$0" && git init -q && git add -A && git -c user.name=test -c user.email=test@localhost commit -qm all`
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script, to)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// goBin returns the directory of the go command, which may be one that the test hides.
func goBin(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("go")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}

// Each example is one that run.sh runs and that examples/README.md lists.
func TestExamplesAreListed(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(root, "examples"))
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "internal" {
			dirs = append(dirs, e.Name())
		}
	}
	listed := namesIn(t, "examples/README.md", `(?m)\[[a-z]+\]\(([a-z]+)\)`)
	for what, names := range map[string][]string{"examples/README.md lists": listed, "the tests run": slices.Sorted(maps.Keys(outcomes))} {
		if !slices.Equal(names, dirs) {
			t.Errorf("%s %v, and there are %v", what, names, dirs)
		}
	}
	for _, dir := range dirs {
		readme := "examples/" + dir + "/README.md"
		if names := namesIn(t, readme, `(?m)^    examples/run\.sh ([a-z]+)`); len(names) != 1 || names[0] != dir {
			t.Errorf("%s does not say how the example is run: %v", readme, names)
		}
	}
}

// namesIn returns what an expression finds in a file, sorted, each once.
func namesIn(t *testing.T, file, expression string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1) {
		names = append(names, match[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}
