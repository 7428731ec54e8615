package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount"
)

// daemonName is the hidden command of the background process of mount.
const daemonName = "keep-mount"

// The background process of mount reads its request from standard input, since command lines
// are public and the URL may contain secrets. It answers on standard output when it has
// mounted, or failed, and receives an acknowledgement on standard input. Until then the end of
// standard input means that the parent is gone: it unmounts and ends. Until then its messages
// go to the standard error that it shares with its parent.
type (
	daemonRequest struct {
		Flags   mountFlags `json:"flags"`
		Dir     ipc.Path   `json:"dir"` // of Flags, as is the next
		Spill   ipc.Path   `json:"spill"`
		Cache   ipc.Path   `json:"cache"`
		RunDir  ipc.Path   `json:"runDir"`
		LogFile ipc.Path   `json:"logFile"` // "" for none
		Quiet   bool       `json:"quiet"`
		Verbose bool       `json:"verbose"`
		JSON    bool       `json:"json"`
	}
	daemonAnswer struct {
		Status *mount.Status `json:"status,omitempty"` // mounted
		Code   int           `json:"code,omitempty"`   // or the exit code; the error has been printed
	}
)

// daemonAck acknowledges the daemon's answer.
const daemonAck = "\n"

// mountInBackground starts a background process that keeps the mount, and returns when it is
// mounted. A signal before that ends both.
func (a *app) mountInBackground(f *mountFlags, logFile string) error {
	return untilSignal(func(ctx context.Context) error {
		d, err := a.startDaemon(f, logFile)
		if err != nil {
			return fmt.Errorf("start the process that keeps the mount: %w", err)
		}
		stop := context.AfterFunc(ctx, d.giveUp)
		defer stop()
		answer, err := d.await()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		return a.reportMounted(*answer.Status)
	})
}

// daemon is the parent's side.
type daemon struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func (a *app) startDaemon(f *mountFlags, logFile string) (*daemon, error) {
	if logFile != "" {
		var err error
		if logFile, err = filepath.Abs(logFile); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{os.Args[0], daemonName}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: cmd, in: in, out: out}
	request := daemonRequest{Flags: *f, Dir: ipc.Path(f.Dir), Spill: ipc.Path(f.Spill), Cache: ipc.Path(f.Cache), RunDir: ipc.Path(a.runDir), LogFile: ipc.Path(logFile), Quiet: a.quiet, Verbose: a.verbose, JSON: a.json}
	if err := json.NewEncoder(in).Encode(request); err != nil {
		d.giveUp()
		return nil, errors.Join(err, cmd.Wait())
	}
	return d, nil
}

// giveUp makes the daemon end unless its answer has been acknowledged.
func (d *daemon) giveUp() { d.in.Close() }

// await reads the answer. A daemon that did not mount has ended when it returns.
func (d *daemon) await() (daemonAnswer, error) {
	var answer daemonAnswer
	err := json.NewDecoder(d.out).Decode(&answer)
	if err == nil && answer.Status != nil {
		_, err = io.WriteString(d.in, daemonAck)
	}
	if err == nil && answer.Status != nil {
		return answer, d.cmd.Process.Release()
	}
	d.giveUp()
	waitErr := d.cmd.Wait()
	if err == nil {
		return answer, &statusError{code: answer.Code}
	}
	return answer, fmt.Errorf("the process that keeps the mount ended early: %w", errors.Join(waitErr, err))
}

// daemonCommand is the daemon's side.
func (a *app) daemonCommand() *cobra.Command {
	return &cobra.Command{
		Use:    daemonName,
		Short:  "Keep a mount; for internal use",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return a.keepMount() },
	}
}

// keepMount is the main function of the daemon. It prints its error, since the parent passes
// on only the code.
func (a *app) keepMount() error {
	in := bufio.NewReader(os.Stdin)
	var request daemonRequest
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &request)
	}
	if err != nil {
		return &usageError{command: "workdir-mount mount", err: errors.New(daemonName + " is for internal use")}
	}
	a.runDir, a.quiet, a.verbose, a.json = string(request.RunDir), request.Quiet, request.Verbose, request.JSON
	request.Flags.Dir, request.Flags.Spill, request.Flags.Cache = string(request.Dir), string(request.Spill), string(request.Cache)
	if err := a.setUp(); err != nil {
		return err
	}
	sigs, stop := watchSignals()
	defer stop()
	m, err := a.mountForParent(in, sigs, &request)
	defer func() { a.stopServer(err) }()
	if err != nil {
		a.printError(err)
		_ = printJSON(os.Stdout, daemonAnswer{Code: exitCode(err)}) // fails only if the parent is gone
		return &statusError{code: exitCode(err)}
	}
	_, err = a.serve(m, sigs, true)
	return err
}

// mountForParent mounts, answers, and waits until the parent has the answer.
func (a *app) mountForParent(in *bufio.Reader, sigs <-chan os.Signal, request *daemonRequest) (*mount.Mount, error) {
	log, err := openLog(string(request.LogFile))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	acked := make(chan error, 1)
	return cancelling(sigs, 1, func(ctx context.Context) (*mount.Mount, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, err := in.ReadByte()
			if err != nil {
				cancel()
			}
			acked <- err
		}()
		opened, err := a.openWithStatus(ctx, &request.Flags)
		if err != nil {
			return nil, err
		}
		return opened.mount, a.handOver(opened.mount, opened.status, acked, log)
	})
}

// handOver tells the parent that m is mounted and closes the parent's files. If the parent is
// gone, m is closed. log is standard error from then on.
func (a *app) handOver(m *mount.Mount, status mount.Status, acked <-chan error, log *os.File) error {
	err := printJSON(os.Stdout, daemonAnswer{Status: &status})
	if err == nil {
		err = <-acked
	}
	if err == nil {
		err = detachFiles(log)
	}
	if err != nil {
		m.Abandon()
		_, closeErr := m.Close(context.Background())
		return errors.Join(fmt.Errorf("hand over the mount: %w", err), closeErr)
	}
	return nil
}

// openLog opens a file for appending; "" means /dev/null.
func openLog(path string) (*os.File, error) {
	if path == "" {
		path = os.DevNull
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, badFlag("--log-file", "cannot be written: "+err.Error())
	}
	return f, nil
}

// detachFiles turns standard input and output into /dev/null and standard error into log,
// so that readers of the parent's output see its end.
func detachFiles(log *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd, f := range []*os.File{null, null, log} {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return nil
}
