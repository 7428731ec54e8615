// Command bench compares workdir with its ancestor, the Python temporal-workdir,
// and with what a shell has for the job, tar and pigz: how long they take to open
// and to commit a workspace, and in how much memory.
//
// All three do the same work in turn, round after round, so that whatever else
// the machine does disturbs them alike. The result is a table of medians. Nothing
// here passes or fails.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// config is what the command line says.
type config struct {
	binary, python, source string
	rounds                 int
	output                 string
}

func run() error {
	var c config
	flag.StringVar(&c.binary, "workdir-mount", "build/workdir-mount", "the command to measure")
	flag.StringVar(&c.python, "python", "build/venv/bin/python", "a Python that has temporal-workdir")
	flag.StringVar(&c.source, "source", "", "the directory that makes up the workspace")
	flag.IntVar(&c.rounds, "rounds", 3, "how often everything is measured")
	flag.StringVar(&c.output, "o", "", "write the table to this file too")
	flag.Parse()
	if c.source == "" || flag.NArg() > 0 || c.rounds < 1 {
		return errors.New("usage: bench -source DIR [flags]")
	}
	if _, err := os.Stat(c.python); err != nil {
		return fmt.Errorf("%w: run scripts/deps.sh bench", err)
	}
	results, err := measure(c)
	if err != nil {
		return err
	}
	page, err := render(c, results)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(os.Stdout, page); err != nil || c.output == "" {
		return err
	}
	return os.WriteFile(c.output, []byte(page), 0o644)
}

// contender is one that can keep a directory in an archive.
type contender interface {
	name() string
	// commit makes a workspace of the source tree.
	commit(s *sample) error
	// open opens that workspace, lists it, and reads everything in it.
	open(s *sample) error
}

// results are the samples of each contender.
type results struct {
	names   []string
	samples map[string][]sample
}

// measure runs the rounds in a directory that is removed at the end.
func measure(c config) (res results, err error) {
	dir, err := os.MkdirTemp("", "workdir-bench")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	res.samples = map[string][]sample{}
	for round := range c.rounds {
		for _, who := range contenders(c, dir) {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, c.rounds, who.name())
			s, err := measureOne(who)
			if err != nil {
				return res, fmt.Errorf("%s: %w", who.name(), err)
			}
			if round == 0 {
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
