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

// Transfers of one large archive to and from a server that stands for S3, on this
// machine: by our own store, by the vendor's own transfer manager, by rclone, and
// by the client of the ancestor. Each is a process of its own, which reads from or
// writes to a file in memory.

const (
	transferKey    = "workdir-bench"
	transferSecret = "workdir-bench-secret"
	transferBucket = "bench"
	transferObject = "job.tar.gz"
)

// transferrer moves an archive.
type transferrer struct {
	name string
	// command gives the process that uploads file, or downloads to it.
	command func(s *s3Server, file string, upload bool) *exec.Cmd
}

// transfer is what one process took.
type transfer struct {
	seconds float64
	usage   usage
}

// transfers are the samples of one transferrer, in the order of the rounds.
type transfers struct {
	name               string
	uploads, downloads []transfer
}

// s3Server is a server that runs.
type s3Server struct {
	address string
	data    string // the directory that holds its buckets
	cmd     *exec.Cmd
}

// startS3 starts one that keeps its objects beneath dir.
func startS3(dir string) (*s3Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &s3Server{address: l.Addr().String(), data: filepath.Join(dir, "data")}
	if err := errors.Join(l.Close(), os.MkdirAll(s.data, 0o755)); err != nil {
		return nil, err
	}
	s.cmd = command("build/tools/bin/versitygw", "--port", s.address, "--quiet", "posix", s.data)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+transferKey, "ROOT_SECRET_KEY="+transferSecret)
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
	return nil, errors.Join(errors.New("versitygw does not answer"), s.stop())
}

func (s *s3Server) stop() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
	return err
}

// env is what the clients of a server find their credentials by. Nothing of the
// user's own configuration of S3 is in it.
func (s *s3Server) env() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return append(own, "AWS_ACCESS_KEY_ID="+transferKey, "AWS_SECRET_ACCESS_KEY="+transferSecret, "AWS_REGION=us-east-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
}

// measureTransfers runs the rounds. Files are in memory, so that the disk is not
// what is measured.
func measureTransfers(ctx context.Context, c config) (all []*transfers, err error) {
	dir, err := os.MkdirTemp("/dev/shm", "workdir-bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := startS3(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if err := makeBucket(ctx, server); err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "source")
	if err := writeRandom(source, c.transfer); err != nil {
		return nil, err
	}
	for round := 0; c.goesOn(ctx, round); round++ {
		for i, t := range transferrers(c) {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, c.rounds, t.name)
			if round == 0 {
				all = append(all, &transfers{name: t.name})
			}
			if err := server.measure(t, source, all[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return all, nil
}

// measure uploads a file and downloads it again, and looks whether it is the same.
func (s *s3Server) measure(t transferrer, source string, to *transfers) error {
	object := filepath.Join(s.data, transferBucket, transferObject)
	copied := source + ".copy"
	defer os.Remove(object)
	defer os.Remove(copied)
	up, err := timeTransfer(t.command(s, source, true))
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	down, err := timeTransfer(t.command(s, copied, false))
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	to.uploads, to.downloads = append(to.uploads, up), append(to.downloads, down)
	return command("cmp", source, copied).Run()
}

// timeTransfer runs a process, whose start counts too.
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

// transferrers are those that are compared.
func transferrers(c config) []transferrer {
	return []transferrer{
		{"workdir", ourselves("workdir")},
		{"AWS SDK for Go, transfer manager", ourselves("sdk")},
		{"rclone copyto", rclone},
		{"s3fs (the ancestor's client)", s3fs(c.python)},
	}
}

// ourselves runs this program again, as transferChild.
func ourselves(how string) func(*s3Server, string, bool) *exec.Cmd {
	return func(s *s3Server, file string, upload bool) *exec.Cmd {
		cmd := command("/proc/self/exe")
		cmd.Env = append(s.env(), fmt.Sprintf("%s=%s %t http://%s %s", transferEnv, how, upload, s.address, file))
		return cmd
	}
}

func rclone(s *s3Server, file string, upload bool) *exec.Cmd {
	remote := ":s3:" + transferBucket + "/" + transferObject
	from, to := file, remote
	if !upload {
		from, to = remote, file
	}
	cmd := command("rclone", "--config", "/dev/null", "-q", "copyto", from, to)
	cmd.Env = append(s.env(), "RCLONE_S3_PROVIDER=Other", "RCLONE_S3_ENV_AUTH=true", "RCLONE_S3_NO_CHECK_BUCKET=true", "RCLONE_S3_REGION=us-east-1", "RCLONE_S3_ENDPOINT=http://"+s.address)
	return cmd
}

const s3fsScript = `
import sys, s3fs
endpoint, file, remote, upload = sys.argv[1:]
fs = s3fs.S3FileSystem(endpoint_url=endpoint)
if upload == "true":
    fs.put_file(file, remote)
else:
    fs.get_file(remote, file)
`

func s3fs(python string) func(*s3Server, string, bool) *exec.Cmd {
	return func(s *s3Server, file string, upload bool) *exec.Cmd {
		cmd := command(python, "-c", s3fsScript, "http://"+s.address, file, transferBucket+"/"+transferObject, fmt.Sprint(upload))
		cmd.Env = s.env()
		return cmd
	}
}

// renderTransfers writes the table.
func renderTransfers(b *strings.Builder, c config, all []*transfers) {
	fmt.Fprintf(b, "## Transfers\n\nAn archive of %d MiB that cannot be compressed, to versitygw on this machine (S3's protocol) and back, files in memory; rounds in which all took turns: %d. Medians; the start of each program counts, and the server shares the processors.\n\n",
		c.transfer>>20, len(all[0].uploads))
	b.WriteString("| | upload, MiB/s | processor, s | peak memory, MiB | download, MiB/s | processor, s | peak memory, MiB |\n|---|---|---|---|---|---|---|\n")
	for _, t := range all {
		fmt.Fprintf(b, "| %s |%s |%s |\n", t.name, transferCells(c, t.uploads), transferCells(c, t.downloads))
	}
}

// transferCells gives throughput, processor time and memory.
func transferCells(c config, of []transfer) string {
	speed := medianOf(of, func(t transfer) float64 { return float64(c.transfer>>20) / t.seconds })
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
