package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
	"github.com/workdir/workdir/mount/internal/wire"
)

// The watchdog pings the server every pingInterval. After maxMissed silent intervals in a
// row, counted in the client's own running time (a suspended machine does not count), it
// takes the server for stopped and kills it: tools then get ENOTCONN instead of hanging
// forever.
var pingInterval = 5 * time.Second // shorter in a test

const maxMissed = 6

// startPatience limits the start of a server process.
const startPatience = 30 * time.Second

// stderrTail is how much of a dead server's last output is shown, in bytes.
const stderrTail = 2048

// startServer runs the program again as a server, connected by a socket.
func (s *session) startServer() error {
	binary, err := selfBinary()
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start server process: socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "client")
	defer ours.Close()
	defer theirs.Close()
	nc, err := net.FileConn(ours)
	if err != nil {
		return fmt.Errorf("start server process: %w", err)
	}
	stderr, err := os.OpenFile(filepath.Join(s.dir, host.StderrName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		nc.Close()
		return fmt.Errorf("start server process: %w", err)
	}
	defer stderr.Close()
	cmd := exec.Command(binary)
	cmd.Args = []string{wire.ServerName}
	cmd.Dir = "/"
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs, s.lock} // wire.SocketFD, wire.LockFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		nc.Close()
		return fmt.Errorf("%w: start %s: %w", ErrNoServer, binary, err)
	}
	s.proc = cmd.Process
	go func() {
		s.exitErr = cmd.Wait()
		close(s.exited)
	}()
	s.conn = ipc.New(nc, s.handle, wire.Codec)
	return nil
}

// startLocal serves in this process. Unlike with FUSE, the kernel never makes this process
// wait for the server of a plain directory.
func (s *session) startLocal() error {
	ours, theirs := net.Pipe()
	go func() {
		serve.Here(theirs, s.lock)
		close(s.exited)
	}()
	s.conn = ipc.New(ours, s.handle, wire.Codec)
	return nil
}

// pid returns the number of the process that serves.
func (s *session) pid() int {
	if s.proc == nil {
		return os.Getpid()
	}
	return s.proc.Pid
}

func (s *session) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var reply wire.HelloReply
	return s.conn.Call(ctx, wire.CallHello, wire.HelloRequest{Protocol: wire.Version, Session: ipc.Path(s.dir)}, &reply)
}

// watchdog kills a server that no longer answers.
func (s *session) watchdog() {
	for missed := 0; missed < maxMissed; {
		if missed == 0 && !s.pause(s.ping) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.ping)
		err := s.conn.Call(ctx, wire.CallPing, nil, nil)
		cancel()
		switch {
		case err == nil:
			missed = 0
		case s.isLost():
			return
		default:
			missed++
		}
	}
	s.kill("it did not answer any more and was killed")
}

// pause waits, and reports whether the server is still there.
func (s *session) pause(d time.Duration) bool {
	select {
	case <-s.conn.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// kill ends a server that does not answer.
func (s *session) kill(why string) {
	s.mu.Lock()
	if s.killed == "" {
		s.killed = why
	}
	s.mu.Unlock()
	if s.proc == nil {
		s.conn.Close() // which ends a local server
		return
	}
	_ = s.proc.Kill() // it may already be dead
}

// awaitExit waits for a server whose connection has ended; the server exits soon
// afterwards.
func (s *session) awaitExit() {
	select {
	case <-s.exited:
	case <-time.After(2 * serve.DetachPatience):
		s.kill("it did not end")
		<-s.exited
	}
}

// cause says how the server ended, with its last output.
func (s *session) cause() string {
	s.mu.Lock()
	why := s.killed
	s.mu.Unlock()
	if why == "" {
		why = "exit status 0"
		var exit *exec.ExitError
		if errors.As(s.exitErr, &exit) {
			why = exit.String()
		}
	}
	b, err := os.ReadFile(filepath.Join(s.dir, host.StderrName))
	if b = bytes.TrimSpace(b); err == nil && len(b) > 0 {
		if len(b) > stderrTail {
			b = b[len(b)-stderrTail:]
		}
		why += "; it printed: " + string(b)
	}
	return why
}
