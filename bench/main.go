// Command bench compares workdir with other programs. Opening and committing a workspace is
// compared with its ancestor, the Python temporal-workdir, and with shell tools, tar and pigz.
// Work in a mount is compared with memory, the disk, and other FUSE file systems; that needs
// root.
//
// All of them do the same work in turn, round after round, so that other load on the machine
// disturbs them alike. The result is a page of medians, with plots. Nothing here passes or
// fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// config is the content of the command line.
type config struct {
	binary, python, source string
	before                 string // an earlier build of the command; "" for none
	earlier                string // an earlier build of this program; "" for none
	workloads              string
	rounds                 int
	parts                  string
	transfer               int64  // bytes of the transferred archive
	output                 string // directory
	module                 string // directory of this module
}

func run() error {
	if what := os.Getenv(transferEnv); what != "" {
		return transferChild(context.Background(), what)
	}
	var c config
	flag.StringVar(&c.binary, "workdir-mount", "build/workdir-mount", "the command to measure")
	flag.StringVar(&c.python, "python", "build/_venv/bin/python", "a Python that has temporal-workdir")
	flag.StringVar(&c.source, "source", "", "the directory that makes up the workspace")
	flag.IntVar(&c.rounds, "rounds", 3, "how often everything is measured")
	flag.StringVar(&c.parts, "parts", "archives,changes,mounts,transfers,servers,activities", "what is measured")
	flag.StringVar(&c.before, "before", "", "another workdir-mount, of an earlier release, to compare with in the parts changes and mounts")
	flag.StringVar(&c.earlier, "earlier", "", "another build of this program, of an earlier release, to compare with in the part transfers")
	flag.StringVar(&c.workloads, "workloads", "13000:400", "the trees of the part changes, as FILES:MEGABYTES, separated by commas")
	flag.Int64Var(&c.transfer, "transfer", 1<<30, "how large an archive is transferred, in bytes")
	flag.StringVar(&c.module, "module", ".", "the directory of this module, with go.mod")
	flag.StringVar(&c.output, "o", "", "write the page to this directory, as benchmarks.md, and the plots below it")
	flag.Parse()
	if c.source == "" || flag.NArg() > 0 || c.rounds < 1 {
		return errors.New("usage: bench -source DIR [flags]")
	}
	if c.before != "" {
		places = append(places, before(c.before))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	page, plots, err := measureParts(ctx, c)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(os.Stdout, page); err != nil || c.output == "" {
		return err
	}
	return write(c.output, page, plots)
}

// goesOn reports whether there is another round. After SIGTERM the current round is the last
// one, and the results so far are written.
func (c config) goesOn(ctx context.Context, done int) bool {
	return done == 0 || done < c.rounds && ctx.Err() == nil
}

// measureParts measures the parts named on the command line, and describes them.
func measureParts(ctx context.Context, c config) (string, []plot, error) {
	var page strings.Builder
	var plots []plot
	page.WriteString(preamble())
	for _, part := range strings.Split(c.parts, ",") {
		switch part {
		case "archives":
			res, err := measure(ctx, c)
			if err == nil {
				err = renderArchives(&page, c, res)
			}
			if err != nil {
				return "", nil, err
			}
		case "changes":
			if err := measureChanges(ctx, c, &page); err != nil {
				return "", nil, err
			}
		case "mounts":
			res, err := measureMounts(ctx, c)
			if err != nil {
				return "", nil, err
			}
			plots = renderMounts(&page, res)
		case "transfers":
			results, err := measureTransfers(ctx, c)
			if err != nil {
				return "", nil, err
			}
			renderTransfers(&page, results)
		case "servers":
			if err := measureServers(ctx, c, &page); err != nil {
				return "", nil, err
			}
		case "activities":
			if err := measureActivities(ctx, c, &page); err != nil {
				return "", nil, err
			}
		default:
			return "", nil, fmt.Errorf("unknown part %q; the parts are archives, changes, mounts, transfers, servers and activities", part)
		}
	}
	page.WriteString(epilogue(c))
	return page.String(), plots, nil
}

// write writes the page, and the plots into a directory beside it.
func write(dir, page string, plots []plot) error {
	if err := makeDirs(filepath.Join(dir, "bench")); err != nil {
		return err
	}
	for _, p := range plots {
		if err := os.WriteFile(filepath.Join(dir, "bench", p.file), []byte(p.svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(page), 0o644)
}

// contender is a program that can keep a directory in an archive.
type contender interface {
	name() string
	// commit makes a workspace of the source tree.
	commit(s *sample) error
	// open opens that workspace, lists it, and reads everything in it.
	open(s *sample) error
}

// results are the samples of each contender.
type results struct {
	rounds  int
	names   []string
	samples map[string][]sample
}

// measure runs the rounds in a directory that is removed at the end.
func measure(ctx context.Context, c config) (res results, err error) {
	if _, err := os.Stat(c.python); err != nil {
		return res, fmt.Errorf("%w: run scripts/deps.sh bench", err)
	}
	dir, err := os.MkdirTemp("", "workdir-bench")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	res.samples = map[string][]sample{}
	for ; c.goesOn(ctx, res.rounds); res.rounds++ {
		for _, who := range contenders(c, dir) {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", res.rounds+1, c.rounds, who.name())
			s, err := measureOne(who)
			if err != nil {
				return res, fmt.Errorf("%s: %w", who.name(), err)
			}
			if res.rounds == 0 {
				res.names = append(res.names, who.name())
			}
			res.samples[who.name()] = append(res.samples[who.name()], s)
		}
		if err := emptyDir(dir); err != nil {
			return res, err
		}
	}
	return res, nil
}

func measureOne(who contender) (sample, error) {
	var s sample
	if err := who.commit(&s); err != nil {
		return s, fmt.Errorf("commit: %w", err)
	}
	if err := who.open(&s); err != nil {
		return s, fmt.Errorf("open: %w", err)
	}
	return s, nil
}

func contenders(c config, dir string) []contender {
	return []contender{
		&workdir{binary: c.binary, source: c.source, dir: filepath.Join(dir, "workdir")},
		&ancestor{python: c.python, source: c.source, dir: filepath.Join(dir, "ancestor")},
		&tarPigz{source: c.source, dir: filepath.Join(dir, "tar")},
	}
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
