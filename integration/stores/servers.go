package stores

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
)

// Kind is one of the clouds.
type Kind string

// The clouds, by their canonical schemes.
const (
	S3    Kind = "s3"
	GS    Kind = "gs"
	Azure Kind = "azblob"
)

// Kinds are all clouds.
var Kinds = []Kind{S3, GS, Azure}

// cloud is the part specific to the server of one cloud.
type cloud interface {
	// command returns the program and its arguments, and what it wants in its
	// environment.
	command(at place) (args, env []string)
	// client makes a client of the cloud's own SDK.
	client(ctx context.Context, address string) (client, error)
	// query returns the options of a URL that lead to the server at address.
	query(address string) string
	// env returns the environment of programs that use the server at address.
	env(address string) []string
}

// client does, by the cloud's own SDK, what the tests need beside our drivers.
type client interface {
	// ready is nil once the server answers.
	ready(ctx context.Context) error
	makeBucket(ctx context.Context, bucket string) error
	// names returns the names of all objects, as the cloud has them.
	names(ctx context.Context, bucket string) ([]string, error)
	// hidden returns what uploads that were not finished have left.
	hidden(ctx context.Context, bucket string) ([]string, error)
	put(ctx context.Context, bucket, name string, content []byte) error
	get(ctx context.Context, bucket, name string) ([]byte, error)
	remove(ctx context.Context, bucket, name string) error
	close() error
}

// place is what a server is given.
type place struct {
	tools   string // directory of the installed programs
	own     string // directory that is its alone
	data    string // directory for what it serves, where it keeps that in one
	address string // that it listens on
}

// Server is a server that runs.
type Server struct {
	Kind    Kind
	Address string // host and port
	cloud   cloud
	client  client
	dir     string // its own, with its log
	data    string // what it serves, where that is a directory
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
}

// startTries is how often another port is tried.
const startTries = 5

// Start starts the server of a cloud and waits until it answers.
func Start(ctx context.Context, kind Kind) (*Server, error) {
	return start(ctx, kind, "")
}

// start starts a server that keeps its data in a directory, "" for one of its own.
func start(ctx context.Context, kind Kind, data string) (*Server, error) {
	return startCloud(ctx, kind, clouds[kind], data)
}

// startCloud starts a server in the way of c. A port that was free a moment ago can be
// taken meanwhile; then another one is tried.
func startCloud(ctx context.Context, kind Kind, c cloud, data string) (*Server, error) {
	var errs error
	for range startTries {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		s, err := startAt(ctx, kind, c, address, data)
		if err == nil {
			return s, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

func startAt(ctx context.Context, kind Kind, c cloud, address, data string) (*Server, error) {
	dir, err := os.MkdirTemp("", "workdir-"+string(kind)+"-")
	if err != nil {
		return nil, err
	}
	if data == "" {
		data = filepath.Join(dir, "data")
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	s := &Server{Kind: kind, Address: address, dir: dir, data: data, cloud: c}
	if err := s.run(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// freeAddress returns an unused address.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// run starts the process and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	tools, err := toolsDir()
	if err != nil {
		return err
	}
	args, env := s.cloud.command(place{tools: tools, own: s.dir, data: s.data, address: s.Address})
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Dir = s.dir
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing stays behind a test that is killed
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("%w: run scripts/deps.sh test", err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // killed, mostly
		close(ended)
	}(s.cmd, s.ended)
	return s.await(ctx)
}

// startLimit is how long a server may take until it answers.
const startLimit = time.Minute

func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var err error
	if s.client == nil {
		if s.client, err = s.cloud.client(ctx, s.Address); err != nil {
			return err
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = s.ask(ctx); err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s ended at once: %s", s.cmd.Path, s.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s at %s does not answer: %w: %s", s.cmd.Path, s.Address, err, s.Log())
		case <-tick.C:
		}
	}
}

// ask asks once. The SDKs would ask again by themselves, after long pauses, so
// they are not asked before somebody listens.
func (s *Server) ask(ctx context.Context) error {
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		return err
	}
	conn.Close()
	return s.client.ready(ctx)
}

// toolsDir finds build/tools of the work tree that we are in.
func toolsDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		tools := filepath.Join(dir, "build", "tools")
		if _, err := os.Stat(tools); err == nil {
			return tools, nil
		}
	}
	return "", errors.New("there is no build/tools above the working directory: run scripts/deps.sh test")
}

// Stop ends the server and removes what it kept.
func (s *Server) Stop() error {
	s.Kill()
	var err error
	if s.client != nil {
		err = s.client.close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Kill ends the server by SIGKILL and waits until it is gone. What it kept on
// disk stays.
func (s *Server) Kill() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails where it has ended already
	<-s.ended
}

// Restart starts the server again at the same address, after a Kill.
func (s *Server) Restart(ctx context.Context) error { return s.run(ctx) }

func (s *Server) logPath() string { return filepath.Join(s.dir, "log") }

// Log returns the end of what the server has said.
func (s *Server) Log() string {
	const end = 8 << 10
	b, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-end):]))
}

// MakeBucket makes a bucket by the cloud's own SDK.
func (s *Server) MakeBucket(ctx context.Context, bucket string) error {
	return s.client.makeBucket(ctx, bucket)
}

// Bucket is the URL of a bucket, without a slash at the end and without options.
func (s *Server) Bucket(bucket string) string { return string(s.Kind) + "://" + bucket }

// URL leads to a workspace, with the options that lead to this server.
func (s *Server) URL(bucket, key string) string {
	return s.urlAt(s.Address, bucket, key)
}

// urlAt leads to a workspace by another address, that of a proxy for one.
func (s *Server) urlAt(address, bucket, key string) string {
	url := s.Bucket(bucket)
	if key != "" {
		url += "/" + key
	}
	if query := s.cloud.query(address); query != "" {
		url += "?" + query
	}
	return url
}

// Env is what programs that use this server want in their environment, beside the
// options of the URL.
func (s *Server) Env() []string { return s.cloud.env(s.Address) }
