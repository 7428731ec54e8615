package activity

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/workdir/workdir/mount"
)

type visitKey struct{}

// visitOf returns the innermost visit that ctx is in; nil outside of all.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// Workspace returns the workspace that the function runs in: that of the activity's rule,
// or of the innermost Do without a name. It is false if there is no such workspace.
func Workspace(ctx context.Context) (*mount.Mount, bool) {
	if v := mainVisit(ctx); v != nil {
		return v.mount, true
	}
	return nil, false
}

// mainVisit returns the visit of Workspace's workspace, or nil.
func mainVisit(ctx context.Context) *visit {
	for v := visitOf(ctx); v != nil; v = v.outer {
		if v.isMain() {
			return v
		}
	}
	return nil
}

// WorkspaceNamed returns a workspace by the name that it has in the rule, or in the
// options of Do. It is false if there is no such workspace.
func WorkspaceNamed(ctx context.Context, name string) (*mount.Mount, bool) {
	for v := visitOf(ctx); v != nil; v = v.outer {
		if name != "" && v.opts.Name == name {
			return v.mount, true
		}
	}
	return nil, false
}

// errNoWorkspace is for functions that need a workspace.
var errNoWorkspace = errors.New("no workspace in the context; pass the context of an activity named by a rule of the plugin, or of Do's function")

// Path returns a path in the workspace of ctx; without elements, the mountpoint. It panics
// without a workspace, as activity.GetInfo does outside of activities: a relative path would
// refer to the worker's directory.
func Path(ctx context.Context, elem ...string) string {
	m, ok := Workspace(ctx)
	if !ok {
		panic("wdactivity.Path: " + errNoWorkspace.Error())
	}
	return m.Path(elem...)
}

// Commit marks the workspace of ctx to be stored when the activity, or Do's function,
// returns without an error. It writes nothing itself; see mount.Mount.Commit.
func Commit(ctx context.Context) error {
	m, ok := Workspace(ctx)
	if !ok {
		return errNoWorkspace
	}
	return m.Commit()
}

// Command returns an *exec.Cmd that runs a program in the workspace of ctx, as
// mount.Command does, with the environment of Environ; if Options.At is set, the variable of
// this workspace's path has that value. Without a workspace in ctx running the command is an
// error.
func Command(ctx context.Context, name string, arg ...string) *exec.Cmd {
	v := mainVisit(ctx)
	if v == nil {
		cmd := exec.CommandContext(ctx, name, arg...)
		cmd.Err = errors.New("command " + name + ": " + errNoWorkspace.Error())
		return cmd
	}
	cmd := mount.Command(ctx, v.mount, name, arg...)
	cmd.Env = append(Environ(ctx), v.workspace.variable()+"="+v.mount.CommandPath())
	return cmd
}

// Environ returns the environment of this process, as os.Environ, followed by the variables by
// which tools find the workspaces of ctx: WORKDIR, the path of Workspace's workspace, and
// WORKDIR_URL, its URL without secrets; for named ones WORKDIR_NAME and WORKDIR_NAME_URL; or
// those of Options.Env.
//
// The process runs other activities concurrently, so its own environment is not changed: pass
// this one to the commands that you start (exec.Cmd.Env), or let [Command] do that.
func Environ(ctx context.Context) []string {
	return append(os.Environ(), visitOf(ctx).variables()...)
}

// variable is the environment variable for the path of a workspace, as in workdir-mount exec;
// see [Environ].
const variable = "WORKDIR"

// urlVariable returns the variable for a workspace's URL, given that for its path.
func urlVariable(path string) string { return path + "_URL" }

// variable names the variable of the workspace's path.
func (w *workspace) variable() string {
	switch {
	case w.opts.Env != "":
		return w.opts.Env
	case w.isMain():
		return variable
	}
	return variable + "_" + strings.ToUpper(strings.ReplaceAll(w.opts.Name, "-", "_"))
}

// variables returns those of a visit and all enclosing ones. Of two with the same name package
// exec uses the last, the innermost.
func (v *visit) variables() []string {
	if v == nil {
		return nil
	}
	env := v.workspace.variable()
	return append(v.outer.variables(), env+"="+v.mount.Path(), urlVariable(env)+"="+v.mount.URL())
}
