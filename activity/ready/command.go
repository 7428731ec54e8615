package ready

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// tailBytes is how many bytes are kept of the end of an output.
const tailBytes = 64 << 10

// killDelay is the time between SIGTERM and SIGKILL for a command that must end.
const killDelay = 5 * time.Second

// outputDelay is how long the output of a command is read after its end, if a process left
// behind holds it open.
const outputDelay = 2 * time.Second

// tail is a writer that keeps the end of the output. Package exec writes to it from one
// goroutine.
type tail struct {
	buf   []byte
	total int64
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.total += int64(len(p))
	t.buf = append(t.buf, p[max(0, len(p)-tailBytes):]...)
	if len(t.buf) > 2*tailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(p), nil
}

// text returns the captured output; invalid UTF-8 is replaced.
func (t *tail) text() string {
	end := t.buf[max(0, len(t.buf)-tailBytes):]
	if t.truncated() {
		for i := 0; i < utf8.UTFMax && len(end) > 0 && !utf8.RuneStart(end[0]); i++ {
			end = end[1:] // the rest of a truncated character
		}
	}
	return strings.ToValidUTF8(string(end), "\uFFFD")
}

func (t *tail) truncated() bool { return t.total > tailBytes }

// command is a program in its own process group.
type command struct {
	cmd     *exec.Cmd
	timeout time.Duration // 0: none
	stdout  tail
	stderr  tail
}

// exit is how a command ended.
type exit struct {
	code     int            // as a shell returns it: 128 and the signal's number after a signal
	signal   syscall.Signal // 0: none
	timedOut bool
}

// run starts the command and waits for its end. When ctx or the timeout ends, its
// process group gets SIGTERM, and SIGKILL after killDelay; the end of ctx is then
// the error. Processes that a failing command leaves behind in its group are killed; those of
// a command that exits with 0 are not. A process that left the group is not affected.
func (p *command) run(ctx context.Context) (exit, error) {
	// Pdeathsig is sent when the thread that started the command ends, so this goroutine keeps
	// its thread: prctl(2), PR_SET_PDEATHSIG.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.SysProcAttr.Setpgid, p.cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.WaitDelay = outputDelay
	if err := p.cmd.Start(); err != nil {
		return exit{}, fmt.Errorf("start the command: %w", err)
	}
	over := make(chan struct{})
	ended := make(chan bool, 1) // whether the timeout ended it
	go func() { ended <- p.watch(ctx, over) }()
	err := p.cmd.Wait()
	close(over)
	timedOut := <-ended
	if ctx.Err() != nil {
		p.kill(unix.SIGKILL)
		return exit{}, context.Cause(ctx)
	}
	end, err := p.ending(err, timedOut)
	if err != nil || end.code != 0 {
		p.kill(unix.SIGKILL) // nothing is stored, so nothing may continue
	}
	return end, err
}

// watch ends the command when ctx or the timeout ends, and reports whether it was the
// timeout.
func (p *command) watch(ctx context.Context, over <-chan struct{}) (timedOut bool) {
	var timeout <-chan time.Time
	if p.timeout > 0 {
		timer := time.NewTimer(p.timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-over:
		return false
	case <-ctx.Done():
	case <-timeout:
		timedOut = true
	}
	p.kill(unix.SIGTERM)
	timer := time.NewTimer(killDelay)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
		p.kill(unix.SIGKILL)
		<-over
	}
	return timedOut
}

// kill sends a signal to the whole group, if it still exists.
func (p *command) kill(sig syscall.Signal) { _ = unix.Kill(-p.cmd.Process.Pid, sig) }

// ending returns how the command ended; err is what Wait returned.
func (p *command) ending(err error, timedOut bool) (exit, error) {
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) && !errors.Is(err, exec.ErrWaitDelay) {
		return exit{}, fmt.Errorf("wait for the command: %w", err)
	}
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus) // always that type on Linux
	if status.Signaled() {
		return exit{code: 128 + int(status.Signal()), signal: status.Signal(), timedOut: timedOut}, nil
	}
	return exit{code: status.ExitStatus(), timedOut: timedOut}, nil
}
