package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
)

// resultVariable names the file for the result of exec's command.
const resultVariable = "WORKDIR_RESULT_FILE"

// stepVariables are the flags that can also be set in the environment.
var stepVariables = []struct{ flag, variable string }{
	{"execution", "WORKDIR_EXECUTION"},
	{"step", "WORKDIR_STEP"},
	{"attempt", "WORKDIR_ATTEMPT"},
	{"scheduled", "WORKDIR_SCHEDULED"},
	{"since", "WORKDIR_SINCE"},
}

// stepFlags identify the step of an execution that exec's command is. A step takes effect
// once, however often it is tried.
type stepFlags struct {
	execution, step string
	attempt         int32
	scheduled       instant
	since           instant
	resultFile      string // absolute after resolve
}

func (s *stepFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.execution, "execution", "", "identity of the work, the same for all attempts and for no other work that was scheduled at the same time: it takes effect once (environment: WORKDIR_EXECUTION)")
	flags.StringVar(&s.step, "step", "", "name of this piece of work, if one execution does several in one workspace (environment: WORKDIR_STEP)")
	flags.Int32Var(&s.attempt, "attempt", 0, "number of the attempt, for the log (environment: WORKDIR_ATTEMPT)")
	flags.Var(&s.scheduled, "scheduled", "when the work was scheduled, the same for all attempts: distinguishes work whose --execution is used again (environment: WORKDIR_SCHEDULED)")
	flags.Var(&s.since, "since", "when the execution began, such as 2026-05-17T12:00:00Z: a log that does not reach back so far is an error; by default --scheduled (environment: WORKDIR_SINCE)")
	flags.StringVar(&s.resultFile, "result-file", "", "file outside the workspace that the command writes: kept with the commit, and written again where the command is not run")
}

// instant is a flag for a point in time.
type instant struct{ time.Time }

// Set reads a flag.
func (i *instant) Set(s string) (err error) {
	if i.Time, err = time.Parse(time.RFC3339Nano, s); err != nil {
		return fmt.Errorf("%q is not a time; write for example 2026-05-17T12:00:00Z", s)
	}
	return nil
}

func (i *instant) String() string {
	if i.IsZero() {
		return ""
	}
	return i.Format(time.RFC3339Nano)
}

// Type is the name of the value in the help.
func (i *instant) Type() string { return "time" }

// resolve completes the flags from the environment, checks them, and sets the origin of f.
func (s *stepFlags) resolve(flags *pflag.FlagSet, f *mountFlags) error {
	if f.ReadOnly && flags.Changed("execution") {
		return badFlag("--execution", "does not go with --read-only, which stores nothing")
	}
	if err := s.fromEnvironment(flags); err != nil {
		return err
	}
	if s.execution == "" {
		return s.noStep(flags)
	}
	if s.attempt < 0 {
		return badFlag("--attempt", "is negative")
	}
	f.origin = archive.Origin{Workspace: f.URL.Identity(), Execution: s.execution, Scheduled: s.scheduled.Time, Step: s.step, Attempt: s.attempt}
	if err := mount.CheckOrigin(f.origin); err != nil {
		return &statusError{code: exitUsage, err: fmt.Errorf("--execution and --step: %w", err)}
	}
	f.since = s.since.Time
	if f.since.IsZero() {
		f.since = s.scheduled.Time
	}
	return s.resolveResult(f.Dir)
}

func (s *stepFlags) fromEnvironment(flags *pflag.FlagSet) error {
	for _, v := range stepVariables {
		value := os.Getenv(v.variable)
		if value == "" || flags.Changed(v.flag) {
			continue
		}
		if err := flags.Set(v.flag, value); err != nil {
			return badFlag(v.variable, "is wrong: "+err.Error())
		}
	}
	return nil
}

// noStep refuses flags that have no meaning without an execution, rather than ignore the
// requested guarantee.
func (s *stepFlags) noStep(flags *pflag.FlagSet) error {
	if flags.Changed("execution") {
		return badFlag("--execution", "is empty")
	}
	for _, flag := range []string{"step", "attempt", "scheduled", "since", "result-file"} {
		if flags.Changed(flag) {
			return badFlag("--"+flag, "needs --execution, or WORKDIR_EXECUTION in the environment")
		}
	}
	return nil
}

// resolveResult makes the result file's path independent of the working directory. It must not
// be in the mountpoint, where it could not be written if nothing is mounted.
func (s *stepFlags) resolveResult(mountpoint string) error {
	if s.resultFile == "" {
		return nil
	}
	abs, err := filepath.Abs(s.resultFile)
	if err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return badFlag("--result-file", "is in no directory: "+err.Error())
	}
	s.resultFile = filepath.Join(dir, filepath.Base(abs))
	if info, err := os.Stat(s.resultFile); err == nil && !info.Mode().IsRegular() {
		return badFlag("--result-file", s.resultFile+" is not a regular file")
	}
	if mountpoint == "" {
		return nil
	}
	if real, err := filepath.EvalSymlinks(mountpoint); err == nil && strings.HasPrefix(s.resultFile, real+"/") {
		return badFlag("--result-file", "is in the mountpoint, where nothing is mounted if the command is not run; choose a file outside")
	}
	return nil
}

// clearResult empties the result file, so that its content after the command comes from the
// command.
func (s *stepFlags) clearResult() error {
	if s.resultFile == "" {
		return nil
	}
	return s.writeResult(nil)
}

func (s *stepFlags) writeResult(result []byte) error {
	if err := os.WriteFile(s.resultFile, result, 0o666); err != nil {
		return fmt.Errorf("result file: %w", err)
	}
	return nil
}

// keepResult sets the command's result on the mount, for its commit.
func (s *stepFlags) keepResult(m *mount.Mount) error {
	if s.resultFile == "" {
		return nil
	}
	result, err := readResult(s.resultFile)
	if err != nil {
		return fmt.Errorf("%w: result file %s: %w", mount.ErrCommit, s.resultFile, err)
	}
	return m.SetResult(result)
}

// readResult reads a command's result file.
func readResult(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("no longer a regular file")
	case info.Size() > archive.MaxResult:
		return nil, fmt.Errorf("%d bytes, at most %d are kept", info.Size(), archive.MaxResult)
	}
	return os.ReadFile(name)
}

// replayed ends a step that was committed by another attempt: it returns that attempt's
// result. did says what this one has done. err is returned if it is a different error, or if a
// result is requested but no longer kept.
func (a *app) replayed(s *stepFlags, err error, did string) error {
	var c *mount.CommittedError
	if !errors.As(err, &c) || s.resultFile != "" && c.Record.Dropped {
		return err
	}
	if s.resultFile != "" {
		if err := s.writeResult(c.Record.Result); err != nil {
			return err
		}
	}
	a.note("%v; %s", c, did)
	return nil
}

// notRun is replayed for a command that did not run.
func (a *app) notRun(s *stepFlags, err error) error {
	var c *mount.CommittedError
	if a.json && errors.As(err, &c) {
		closed := newClosedMount(c.URL, "", mount.Result{})
		closed.replay(c)
		if jsonErr := printJSON(a.stderr, closed); jsonErr != nil {
			return jsonErr
		}
	}
	return a.replayed(s, err, "nothing was run")
}

// replay replaces our commit by that of the other attempt.
func (c *closedMount) replay(e *mount.CommittedError) {
	c.Replayed, c.Revision, c.CommitID = true, e.Revision, e.Record.ID
}

// withoutStep is an environment for the command without the step's name: if inherited, two
// commands that this one runs would be one step of another workspace.
func (s *stepFlags) withoutStep(env []string) []string {
	out := make([]string, 0, len(env)+1)
	for _, e := range env {
		if name, _, _ := strings.Cut(e, "="); !isStepVariable(name) {
			out = append(out, e)
		}
	}
	if s.resultFile != "" {
		out = append(out, resultVariable+"="+s.resultFile)
	}
	return out
}

func isStepVariable(name string) bool {
	for _, v := range stepVariables {
		if v.variable == name {
			return true
		}
	}
	return name == resultVariable
}
