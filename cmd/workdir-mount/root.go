package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// runDirVariable names the run directory for commands without --run-dir.
const runDirVariable = "WORKDIR_RUN_DIR"

// stopTimeout bounds how long a finished command waits for its server to end.
const stopTimeout = 10 * time.Second

// app is the state shared by the commands.
type app struct {
	stdout, stderr io.Writer // immutable
	log            *slog.Logger
	level          slog.LevelVar

	// Flags of every command.
	runDir  string
	json    bool
	quiet   bool
	verbose bool

	started bool // the command line is valid and its command runs
}

// run is the program: it returns the exit code for a command line.
func run(args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	a.level.Set(slog.LevelWarn)
	a.log = slog.New(&lineHandler{out: stderr, level: &a.level})
	slog.SetDefault(a.log)
	slog.SetLogLoggerLevel(slog.LevelWarn) // messages of libraries by package log
	a.json = wantsJSON(args)               // before parsing, which may fail
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if err != nil && !a.started {
		err = &usageError{command: cmd.CommandPath(), err: err}
	}
	if memErr := store.RemoveMem(); memErr != nil {
		a.log.Warn("the archives of mem URLs are not removed", "cause", memErr)
	}
	a.printError(err)
	return exitCode(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "workdir-mount",
		Short: "Mount directories that are kept as archives in object storage",
		Long: `workdir-mount keeps a directory, a workspace, as one plain KEY.tar.gz in object
storage and mounts it in memory where a tool needs it. What was done in it is
stored when it was committed, whole or not at all, and only if nobody else stored
the same workspace meanwhile.

A workspace is named by a URL:
  s3://bucket/key           S3 and what speaks its protocol (also s3a)
  gs://bucket/key           Google Cloud Storage (also gcs)
  azblob://container/key    Azure Blob Storage (also az, abfs, abfss)
  file:///path/name         a directory, which may be shared (also local, or the path alone)
  mem://any/name            memory, for as long as the program runs (also memory)
URL@COMMIT is the workspace as that commit made it, if its archive was kept.
What follows a "?" are options of the store (docs/stores.md). Credentials come from
where the cloud's own tools take them.`,
		Example: `  workdir-mount exec file:///tmp/ws/job-1 -- make test
  workdir-mount mount file:///tmp/ws/job-1 /mnt/job-1
  workdir-mount ls -l s3://bucket/jobs
  workdir-mount cp s3://bucket/jobs/job-1 file:///tmp/ws/copy`,
		Version:       mount.Version(),
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			a.started = true
			return a.setUp()
		},
	}
	root.SetVersionTemplate(versionLine() + "\n")
	root.SetFlagErrorFunc(noSuchFlag)
	flags := root.PersistentFlags()
	flags.StringVar(&a.runDir, "run-dir", os.Getenv(runDirVariable),
		"private `directory` for mountpoints and the records of what runs (default: /run/workdir for root, else /run/user/UID/workdir or /tmp/workdir-UID; environment: "+runDirVariable+")")
	flags.BoolVar(&a.json, "json", a.json, "print results and errors as JSON")
	flags.Lookup("json").DefValue = "false"
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print errors only")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more of what is done")
	flags.Lookup("run-dir").DefValue = ""
	root.AddCommand(
		a.execCommand(), a.mountCommand(), a.daemonCommand(),
		a.commitCommand(), a.checkpointCommand(), a.abandonCommand(), a.umountCommand(), a.statusCommand(),
		a.lsCommand(), a.statCommand(), a.rmCommand(), a.cpCommand(), a.mvCommand(), a.exportCommand(), a.importCommand(),
		a.catCommand(), a.treeCommand(), a.diffCommand(), a.logCommand(), a.pruneCommand(), a.duCommand(), a.rollbackCommand(), a.forkCommand(), a.blameCommand(), a.verifyCommand(),
		a.uiCommand(), a.doctorCommand(), a.versionCommand(), a.manPagesCommand(),
	)
	completeArguments(root)
	return root
}

// setUp applies the flags of every command.
func (a *app) setUp() error {
	switch {
	case a.quiet:
		a.level.Set(slog.LevelError)
	case a.verbose:
		a.level.Set(slog.LevelInfo)
	case isTerminal(a.stderr):
		a.level.Set(store.LevelWaiting)
	}
	store.Remember(mount.DefaultRunDir())
	if a.runDir == "" {
		return nil
	}
	dir, err := filepath.Abs(a.runDir)
	if err != nil {
		return fmt.Errorf("run directory %s: %w", a.runDir, err)
	}
	a.runDir = dir
	store.Remember(dir)
	return nil
}

// note prints information for the user on stderr.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		_ = printText(a.stderr, fmt.Sprintf("workdir-mount: "+format+"\n", args...))
	}
}

// printError prints an error, and for an invalid command line where to find help.
func (a *app) printError(err error) {
	switch text := errorText(err); {
	case text == "":
	case a.json:
		_ = printJSON(a.stderr, newFailure(err, text))
	default:
		_ = printText(a.stderr, "workdir-mount: "+text+"\n")
	}
}

// stopServer ends the server process of this client, and lets commands of other processes get
// their answers before we end. After an err that says that something hangs it does not wait:
// the server ends with us.
func (a *app) stopServer(err error) {
	if errors.Is(err, errGaveUp) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := mount.Stop(ctx); err != nil {
		a.log.Info("the server process ends by itself", "cause", err)
	}
}
