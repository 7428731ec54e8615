package temporal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// namespace is that of all tests.
const namespace = "default"

// server is the Temporal server that all tests share: each of them has task
// queues and workflow ids of its own.
var server *temporalServer

// temporalServer is a running cmd/temporal-dev.
type temporalServer struct {
	address string // host and port of the frontend
	client  client.Client
	cmd     *exec.Cmd
}

// startServer builds the server, which takes minutes the first time, starts it and
// connects to it. dir is for its log; args are added to its own.
func startServer(dir string, args ...string) (*temporalServer, error) {
	program, err := buildServer()
	if err != nil {
		return nil, err
	}
	stderr, err := os.Create(filepath.Join(dir, "temporal-dev.log"))
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	s := &temporalServer{cmd: exec.Command(program, append([]string{"--port", "0", "--namespace", namespace}, args...)...)}
	s.cmd.Stderr = stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing stays behind a test that is killed
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	address, ready := strings.CutPrefix(strings.TrimSpace(line), "ready: ")
	if err != nil || !ready {
		said, _ := os.ReadFile(stderr.Name()) // more for the message
		return nil, errors.Join(fmt.Errorf("temporal-dev is not ready: %q, %w: %s", line, err, said), s.stop())
	}
	s.address = address
	s.client, err = client.DialContext(context.Background(), client.Options{HostPort: address, Namespace: namespace, Logger: log.NewStructuredLogger(warnings())})
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// buildServer returns the path of the server's program.
func buildServer() (string, error) {
	cmd := exec.Command("../../scripts/temporal-dev.sh", "--build")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build temporal-dev: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// stop ends the server as SIGTERM does.
func (s *temporalServer) stop() error {
	if s.client != nil {
		s.client.Close()
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails where it has ended already
	return s.cmd.Wait()
}
