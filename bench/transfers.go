package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Transfers of one large archive to and from a server that stands in for a cloud, on this
// machine: by our own store, by the vendor's SDK, by rclone, and by the ancestor's client.
// Each is a separate process, which reads from or writes to a file in memory.

const (
	transferBucket = "bench"
	transferObject = "job.tar.gz"
)

// transferCloud is a running server, and its transferrers.
type transferCloud interface {
	title() string
	size(c config) int64 // bytes of the archive
	makeBucket(ctx context.Context) error
	transferrers(c config) []transferrer
	composer(source string) *exec.Cmd // writes source, and composes its successor
	removeObject(ctx context.Context) error
	stop() error
}

// transferClouds start the servers; each may keep what it serves beneath dir.
var transferClouds = []func(dir string) (transferCloud, error){startS3, startGS, startAzure}

// transferrer moves an archive.
type transferrer struct {
	name string
	// command returns the process that uploads file, or downloads to it.
	command func(file string, upload bool) *exec.Cmd
}

// transfer is the cost of one process.
type transfer struct {
	seconds float64
	usage   usage
}

// transfers are the samples of one transferrer, in the order of the rounds.
type transfers struct {
	name               string
	uploads, downloads []transfer
}

// transferResult is the measurements with one server.
type transferResult struct {
	title    string
	size     int64 // bytes
	all      []*transfers
	composed composeResult
}

// localServer is a server process on this machine.
type localServer struct {
	address string
	cmd     *exec.Cmd
}

// startLocal runs a program of build/tools/bin and waits until it listens. args gets
// the address.
func startLocal(program string, args func(address string) []string, env ...string) (*localServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &localServer{address: l.Addr().String()}
	if err := l.Close(); err != nil {
		return nil, err
	}
	s.cmd = command("build/tools/bin/"+program, args(s.address)...)
	s.cmd.Env = append(os.Environ(), env...)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: run scripts/deps.sh test", err)
	}
	for range 100 {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			return s, conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.Join(fmt.Errorf("%s does not answer", program), s.stop())
}

func (s *localServer) stop() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
	return err
}

// measureTransfers measures with one server after the other. Files are in memory, so that the
// disk is not measured.
func measureTransfers(ctx context.Context, c config) (results []*transferResult, err error) {
	dir, err := os.MkdirTemp("/dev/shm", "workdir-bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, start := range transferClouds {
		r, err := measureCloud(ctx, c, dir, start)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	files, err := composeFile(c, dir)
	return append(results, &transferResult{composed: files}), err
}

// measureCloud runs the rounds with one server.
func measureCloud(ctx context.Context, c config, dir string, start func(dir string) (transferCloud, error)) (r *transferResult, err error) {
	server, err := start(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if err := server.makeBucket(ctx); err != nil {
		return nil, err
	}
	r = &transferResult{title: server.title(), size: server.size(c)}
	source := filepath.Join(dir, "source")
	if err := writeRandom(source, r.size); err != nil {
		return nil, err
	}
	for round := 0; c.goesOn(ctx, round); round++ {
		for i, t := range server.transferrers(c) {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, c.rounds, t.name)
			if round == 0 {
				r.all = append(r.all, &transfers{name: t.name})
			}
			err := errors.Join(measureTransfer(t, source, r.all[i]), server.removeObject(context.WithoutCancel(ctx)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	r.composed, err = measureCompose(r.title, r.size, server.composer(source))
	return r, err
}

// measureTransfer uploads a file, downloads it, and compares the two.
func measureTransfer(t transferrer, source string, to *transfers) error {
	copied := source + ".copy"
	defer os.Remove(copied)
	up, err := timeTransfer(t.command(source, true))
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	down, err := timeTransfer(t.command(copied, false))
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	to.uploads, to.downloads = append(to.uploads, up), append(to.downloads, down)
	return command("cmp", source, copied).Run()
}

// timeTransfer runs a process and measures it, including its start.
func timeTransfer(cmd *exec.Cmd) (t transfer, err error) {
	t.seconds, err = seconds(cmd.Run)
	if err == nil {
		t.usage = usageOf(cmd)
	}
	return t, err
}

// writeRandom makes a file that cannot be compressed.
func writeRandom(path string, size int64) error {
	random, err := os.Open("/dev/urandom")
	if err != nil {
		return err
	}
	defer random.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, random, size)
	return errors.Join(err, f.Close())
}

// workdirs are our own store and, if requested, that of an earlier release.
func workdirs(c config, how, address string, env []string) []transferrer {
	all := []transferrer{{"workdir", ourselves(how, address, env)}}
	if c.earlier != "" {
		all = append(all, transferrer{"workdir, before", child(c.earlier, how, address, env)})
	}
	return all
}

// ourselves runs this program again, as transferChild: how is a key of moves.
func ourselves(how, address string, env []string) func(string, bool) *exec.Cmd {
	return child("/proc/self/exe", how, address, env)
}

func child(program, how, address string, env []string) func(string, bool) *exec.Cmd {
	return func(file string, upload bool) *exec.Cmd {
		cmd := command(program)
		cmd.Env = append(slices.Clone(env), fmt.Sprintf("%s=%s %t http://%s %s", transferEnv, how, upload, address, file))
		return cmd
	}
}

// rclone copies to or from a remote of a type, which env configures.
func rclone(remoteType string, env []string) func(string, bool) *exec.Cmd {
	return func(file string, upload bool) *exec.Cmd {
		remote := ":" + remoteType + ":" + transferBucket + "/" + transferObject
		from, to := file, remote
		if !upload {
			from, to = remote, file
		}
		cmd := command("rclone", "--config", "/dev/null", "-q", "copyto", from, to)
		cmd.Env = env
		return cmd
	}
}

// fsspecScript copies by the ancestor's client; open makes the file system.
const fsspecScript = `
import sys
endpoint, file, remote, upload = sys.argv[1:]
%s
if upload == "true":
    fs.put_file(file, remote)
else:
    fs.get_file(remote, file)
`

func fsspec(python, open, address string, env []string) func(string, bool) *exec.Cmd {
	return func(file string, upload bool) *exec.Cmd {
		cmd := command(python, "-c", fmt.Sprintf(fsspecScript, open), "http://"+address, file, transferBucket+"/"+transferObject, fmt.Sprint(upload))
		cmd.Env = env
		return cmd
	}
}

// renderTransfers writes the tables.
func renderTransfers(b *strings.Builder, results []*transferResult) {
	b.WriteString("## Transfers\n\nAn archive that cannot be compressed, to a server on this machine and back, files in memory, in rounds in which all took turns. Medians; the start of each program counts, and the server shares the processors.\n")
	var all []composeResult
	for _, r := range results {
		all = append(all, r.composed)
		if len(r.all) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s, %d MiB; rounds: %d.\n\n", r.title, r.size>>20, len(r.all[0].uploads))
		writeTransfers(b, r.size, r.all)
	}
	renderComposes(b, all)
}

// writeTransfers writes one table, of archives of a size in bytes.
func writeTransfers(b *strings.Builder, size int64, all []*transfers) {
	b.WriteString("| | upload, MiB/s | processor, s | peak memory, MiB | download, MiB/s | processor, s | peak memory, MiB |\n|---|---|---|---|---|---|---|\n")
	for _, t := range all {
		fmt.Fprintf(b, "| %s |%s |%s |\n", t.name, transferCells(size, t.uploads), transferCells(size, t.downloads))
	}
}

// transferCells returns throughput, processor time and memory.
func transferCells(size int64, of []transfer) string {
	speed := medianOf(of, func(t transfer) float64 { return float64(size>>20) / t.seconds })
	processor := medianOf(of, func(t transfer) float64 { return t.usage.processor })
	memory := medianOf(of, func(t transfer) float64 { return float64(t.usage.memory) / (1 << 20) })
	return fmt.Sprintf(" %.0f | %.1f | %.0f", speed, processor, memory)
}

func medianOf(of []transfer, value func(transfer) float64) float64 {
	values := make([]float64, len(of))
	for i, t := range of {
		values[i] = value(t)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
