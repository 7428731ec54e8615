package activity

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/workdir/workdir/mount"
)

// variable is the environment variable that has the path of the workspace, as in
// workdir-mount exec; see [Environ].
const variable = "WORKDIR"

// pathVariable names the variable of a workspace's path: WORKDIR for the first,
// WORKDIR_NAME for one that has a name.
func pathVariable(name string, first bool) string {
	if first {
		return variable
	}
	return variable + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// urlVariable names the variable of a workspace's URL, beside that of its path.
func urlVariable(path string) string { return path + "_URL" }

// named are the workspaces of a context that have names or variables.
type named []namedWorkspace

type namedWorkspace struct {
	name, env string
	m         *mount.Mount
}

type namedKey struct{}

// withNamed gives a context in which these workspaces are found, beside those
// that are found already; the first of them by Workspace, too.
func withNamed(ctx context.Context, list named) context.Context {
	if len(list) == 0 {
		return ctx
	}
	before, _ := ctx.Value(namedKey{}).(named)
	ctx = context.WithValue(ctx, namedKey{}, append(append(named(nil), list...), before...))
	return context.WithValue(ctx, workspaceContextKey{}, list[0].m)
}

// WorkspaceNamed gives a workspace by the name that it has in the interceptor's
// rule. It is false where there is none.
func WorkspaceNamed(ctx context.Context, name string) (*mount.Mount, bool) {
	list, _ := ctx.Value(namedKey{}).(named)
	for _, w := range list {
		if name != "" && w.name == name {
			return w.m, true
		}
	}
	return nil, false
}

// Environ is the environment of this process, as os.Environ, and after it the
// variables by which tools find the workspaces of ctx: WORKDIR, the path of what
// Workspace gives, and WORKDIR_URL, its URL without secrets; for others of the
// interceptor's rule WORKDIR_NAME and WORKDIR_NAME_URL, or what the rule's Env
// says.
//
// An activity's process runs other activities beside it, so nothing is put into
// its own environment: give this to the commands that you start
// (exec.Cmd.Env), or let [Command] do that.
func Environ(ctx context.Context) []string {
	env := os.Environ()
	add := func(name string, m *mount.Mount) {
		env = append(env, name+"="+m.Path(), urlVariable(name)+"="+m.URL())
	}
	list, _ := ctx.Value(namedKey{}).(named)
	for i := len(list) - 1; i >= 0; i-- { // exec.Cmd takes the last one
		add(list[i].env, list[i].m)
	}
	if m, ok := Workspace(ctx); ok && (len(list) == 0 || list[0].m != m) {
		add(variable, m)
	}
	return env
}

// Command gives an *exec.Cmd that runs name in the workspace of ctx, as
// mount.Command does, with the environment that Environ gives. In a ctx without a
// workspace running it is an error.
func Command(ctx context.Context, name string, arg ...string) *exec.Cmd {
	m, ok := Workspace(ctx)
	if !ok {
		cmd := exec.CommandContext(ctx, name, arg...)
		cmd.Err = errors.New("command " + name + ": no workspace in the context; give it the context of Do, of Wrap's function, or of an activity that a rule of the interceptor names")
		return cmd
	}
	cmd := mount.Command(ctx, m, name, arg...)
	cmd.Env = Environ(ctx)
	return cmd
}
