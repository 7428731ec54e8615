package main

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// job is a running command; each signal reaches it once.
//
// On a terminal the command stays in our process group, as the shell's job control requires,
// and the kernel sends Ctrl-C, Ctrl-\ and a hang-up to the whole foreground group: those are
// not forwarded. Without a terminal (a service, CI, a container) the command has its own
// process group, and our signals are forwarded to all of it.
//
// If exec is killed the command is killed too (PR_SET_PDEATHSIG, prctl(2), which outlives the
// shim; a setuid program drops it): its workspace is gone, and its work is lost. Processes
// that it has started lose the mount.
type job struct {
	cmd *exec.Cmd
	tty *os.File // our controlling terminal; nil if the command has its own group
}

// newJob prepares a command before its start. The caller keeps its thread until the command
// has ended: the kernel takes the end of that thread for the parent's.
func newJob(cmd *exec.Cmd) *job {
	j := &job{cmd: cmd}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == nil {
		j.tty = tty
		return j
	}
	cmd.SysProcAttr.Setpgid = true
	return j
}

func (j *job) close() {
	if j.tty != nil {
		j.tty.Close()
	}
}

// forward sends sig to the command unless the terminal has done so. It is not an error if the
// command has ended meanwhile.
func (j *job) forward(sig syscall.Signal) {
	switch {
	case j.tty == nil:
		_ = unix.Kill(-j.cmd.Process.Pid, sig)
	case sig == unix.SIGTERM || !j.inForeground():
		_ = j.cmd.Process.Signal(sig)
	}
}

// inForeground reports whether the terminal sends its signals to our group.
func (j *job) inForeground() bool {
	group, err := unix.IoctlGetInt(int(j.tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// signalName is "SIGTERM", or "signal 64" for a signal without a name.
func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return sig.String()
}
