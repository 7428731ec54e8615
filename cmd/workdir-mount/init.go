package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// asInit is the main function of PID 1, as in a container: it re-executes the program as a
// child, forwards every signal to it, and reaps orphaned processes. The exit code is that of
// the program. All other processes end with it.
func asInit() int {
	sigs := make(chan os.Signal, 64)
	signal.Notify(sigs)
	child, err := startChild()
	if err != nil {
		fmt.Fprintln(os.Stderr, "workdir-mount: as the first process:", err)
		return exitOther
	}
	for sig := range sigs {
		number, _ := sig.(syscall.Signal) // always that type
		switch number {
		case unix.SIGCHLD:
			if code, ended := collect(child); ended {
				return code
			}
		case unix.SIGURG: // the Go runtime sends it to itself
		default:
			_ = unix.Kill(child, number) // the child may have ended
		}
	}
	return exitOther
}

// startChild re-executes the program, in its own process group, so that the terminal's Ctrl-C
// reaches it only once. With a terminal that group is in the foreground.
func startChild() (pid int, err error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if isTerminal(os.Stdin) {
		attr = &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	}
	return syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr,
	})
}

// collect reaps all processes that have ended. If child is among them it returns its exit
// code, as in a shell.
func collect(child int) (code int, ended bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || pid <= 0:
			return code, ended
		case pid == child && status.Signaled():
			code, ended = exitSignal+int(status.Signal()), true
		case pid == child:
			code, ended = status.ExitStatus(), true
		}
	}
}
